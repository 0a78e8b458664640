"""What a workflow declares holds behind every door: refusals, defaults, capabilities, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.three_doors import House, McpWay, Refusal, Way, house

DECLARED = """\
title: Small picture
required_capabilities: [tiny]
parameters:
  - {name: look, node: 6, input: text, required: true}
  - {name: steps, node: 3, input: steps, default: 2, min: 1, max: 50}
  - {name: sampler, node: 3, input: sampler_name, choices: [euler, dpmpp_2m]}
  - {name: width, node: 5, input: width, default: 64}
  - {name: height, node: 5, input: height, default: 64}
"""


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as ready:
        folder = tmp_path / "workflows"
        graph = json.loads((folder / "my_workflow_001.json").read_text(encoding="utf-8"))
        for name, text in (("small", DECLARED), ("free", DECLARED.replace("required_capabilities: [tiny]\n", ""))):
            (folder / f"{name}.json").write_text(json.dumps(graph), encoding="utf-8")
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        yield ready


def body(workflow_id: str = "free", /, **parameters: Any) -> dict[str, Any]:
    return {"workflow_id": workflow_id, "parameters": parameters}


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a missing one": (body(steps=2), ["parameters.look", "is missing"]),
    "a wrong type": (body(look="x", steps="many"), ["parameters.steps", "a whole number from 1 to 50"]),
    "out of range": (body(look="x", steps=51), ["parameters.steps", "from 1 to 50"]),
    "out of range by its exact name": (body(look="x", **{"3.steps": 51}), ["parameters.3.steps", "from 1 to 50"]),
    "no choice": (body(look="x", sampler="ddim"), ["parameters.sampler", "euler", "dpmpp_2m"]),
    "a misspelt name": (body(look="x", smapler="euler"), ["parameters.smapler", "sampler"]),
}


async def test_what_does_not_fit_is_refused_with_what_is_allowed(studio: House, way: Way) -> None:
    for number, (what, (manifest, words)) in enumerate(REFUSED.items()):
        refusal = await way.hand_in(manifest, stem=f"wrong_{number}")
        assert isinstance(refusal, Refusal), what
        assert [word for word in words if word not in refusal.words] == [], (what, refusal.words)
    assert (await studio.http.get("/api/jobs")).json()["jobs"] == []


async def test_defaults_hold_and_are_told_with_the_job(studio: House, way: Way) -> None:
    job_id = await way.hand_in(body(look="a pier", height=128))
    assert isinstance(job_id, str), job_id
    job = await studio.end_of(job_id)
    assert job["status"] == "completed"
    assert job["parameters"] == {"look": "a pier", "height": 128, "steps": 2, "width": 64}
    _, result = await studio.result_of(job)
    assert result["graph"]["3"]["inputs"]["steps"] == 2
    assert (result["graph"]["5"]["inputs"]["width"], result["graph"]["5"]["inputs"]["height"]) == (64, 128)
    assert result["graph"]["6"]["inputs"]["text"] == "a pier"


async def test_a_capability_that_the_workflow_asks_for_is_waited_for(studio: House, way: Way) -> None:
    job_id = await way.hand_in(body("small", look="x"))
    assert isinstance(job_id, str), job_id
    job = (await studio.http.get(f"/api/job/{job_id}")).json()
    assert job["status"] == "queued"
    assert "'tiny'" in " ".join(job["warnings"])
    assert "tiny" in json.dumps(job["waiting_because"])


async def test_it_is_shown_as_json_schema_over_http_and_to_agents(studio: House) -> None:
    shown = (await studio.http.get("/api/workflows/small")).json()
    listed = {view["id"]: view for view in (await studio.http.get("/api/workflows")).json()}
    assert (shown["title"], shown["required_capabilities"]) == ("Small picture", ["tiny"])
    assert [part["name"] for part in shown["parameters"]] == ["look", "steps", "sampler", "width", "height"]
    schema = shown["parameters_schema"]
    assert schema["required"] == ["look"]
    assert schema["properties"]["steps"] == {"type": "integer", "minimum": 1, "maximum": 50, "default": 2}
    assert schema["properties"]["sampler"]["enum"] == ["euler", "dpmpp_2m"]
    assert listed["small"] == {**shown, "parameters_schema": None}

    agents = studio.ways["mcp"]
    assert isinstance(agents, McpWay)
    told = (await agents.agent.call_tool("list_workflows", {"search": "small"})).structured_content
    assert told is not None
    assert told["workflows"][0]["parameters_schema"] == schema


async def test_a_broken_declaration_is_listed_with_its_line_and_refused(studio: House, way: Way) -> None:
    (studio.folder / "workflows" / "free.yaml").write_text("title: x\ntagz: [a]\n", encoding="utf-8")
    shown = (await studio.http.get("/api/workflows/free")).json()
    assert "free.yaml:2: tagz: there is no such key. Did you mean tags?" in shown["problem"]
    assert shown["parameters_schema"] is None
    refusal = await way.hand_in(body(look="x"))
    assert isinstance(refusal, Refusal)
    assert "free.yaml:2" in refusal.words
