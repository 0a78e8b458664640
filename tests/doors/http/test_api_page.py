"""docs/api.md is true: its blocks parse, its examples are values of the models, its requests work."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from orchestrator_mcp.domain import batch_views, dry_runs, views
from orchestrator_mcp.domain.manifests import Changes, Manifest
from orchestrator_mcp.doors.http import build_routes
from orchestrator_mcp.doors.http.answers import STATUS
from orchestrator_mcp.doors.http.backend_operations import BACKEND_OPERATIONS
from orchestrator_mcp.doors.http.batch_operations import BATCH_OPERATIONS
from orchestrator_mcp.doors.http.operations import OPERATIONS, ErrorDocument, WrongFieldsDocument
from orchestrator_mcp.doors.http.reading import JobFilters
from tests.doors.http.farm import JOB, ServiceDouble, finished
from tests.pages import GRAPH, picture

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- model: (?P<model>\S+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(PAGE)]
READABLE = {
    **{name: value for name, value in vars(views).items() if isinstance(value, type)},
    **{name: value for name, value in vars(batch_views).items() if isinstance(value, type)},
    **{name: value for name, value in vars(dry_runs).items() if isinstance(value, type)},
    "Manifest": Manifest,
    "Changes": Changes,
    "ErrorDocument": ErrorDocument,
    "WrongFieldsDocument": WrongFieldsDocument,
}


def blocks(language: str) -> list[str]:
    return [block["text"] for block in BLOCKS if block["language"] == language]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block["language"] == "json"], ids=lambda b: b["model"])
def test_every_json_block_is_a_value_of_its_model(block: dict[str, str]) -> None:
    name = block["model"]
    is_list = name.startswith("list[")
    model: Any = READABLE[name.removeprefix("list[").removesuffix("]")]
    found = json.loads(block["text"])
    read = TypeAdapter(list[model] if is_list else model).validate_python(found)
    for one in read if is_list else [read]:
        assert isinstance(one, BaseModel)
        if isinstance(one, views.View):
            assert one.model_fields_set == set(type(one).model_fields)


def test_every_yaml_block_is_yaml() -> None:
    (config,) = [yaml.safe_load(text) for text in blocks("yaml")]
    assert config["backends"][0]["id"] == "node1"


def test_every_operation_has_its_place() -> None:
    for operation in (*OPERATIONS, *BACKEND_OPERATIONS, *BATCH_OPERATIONS):
        path = operation.path.replace("{backend_id}", "{id}").replace("{workflow_id}", "{id}")
        assert path in PAGE, path


def test_every_field_filter_and_status_is_told() -> None:
    for name in (*Manifest.model_fields, *JobFilters.model_fields):
        assert f"| `{name}` |" in PAGE, name
    for status in {status for error, status in STATUS.items() if status not in {400, 502}}:
        assert f"| {status} |" in PAGE, status


def requests() -> list[str]:
    return [text for text in blocks("bash") if "curl " in text and "$(" not in text]


@pytest.mark.parametrize("command", requests())
async def test_every_curl_command_works_word_for_word(client: httpx.AsyncClient, command: str, tmp_path: Path) -> None:
    script = command.replace("http://127.0.0.1:9800", str(client.base_url).rstrip("/"))
    assert script != command
    script = script.replace("curl ", "curl --silent --show-error --fail --noproxy '*' ")
    (tmp_path / "face.png").write_bytes(b"a picture")
    (tmp_path / "render.png").write_bytes(picture(prompt=GRAPH))
    found = await anyio.run_process(["sh", "-c", script], cwd=tmp_path)
    made = set(os.listdir(tmp_path)) - {"face.png", "render.png"}
    assert made if " -o " in command else json.loads(found.stdout)


async def test_the_integration_example_works_word_for_word(
    client: httpx.AsyncClient, farm: ServiceDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = [text for text in blocks("python") if "httpx" in text]
    submit = run_block(example.replace("http://127.0.0.1:9800", str(client.base_url).rstrip("/")))[
        "submit_shot_to_orchestrator"
    ]
    assert await submit("my_workflow_001", {"prompt": "cinematic shot", "shot_id": "s1"}) == JOB
    assert capsys.readouterr().out == f"Job submitted: {JOB}\n"
    assert farm.submitted[0].manifest.metadata == {"source": "storyboard_ui", "shot_id": "s1"}


async def test_the_streaming_example_works(
    client: httpx.AsyncClient, farm: ServiceDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(farm)
    (example,) = [text for text in blocks("python") if "websockets" in text]
    await run_block(example)["follow"](JOB, str(client.base_url.copy_with(scheme="ws")).rstrip("/"))
    assert capsys.readouterr().out == "completed\n"


def run_block(text: str) -> dict[str, Callable[..., Awaitable[Any]]]:
    """What a Python block of the page defines."""
    found: dict[str, Any] = {}
    exec(compile(text, "docs/api.md", "exec"), found)
    return found


def test_no_route_is_left_out_of_the_page(tmp_path: Path) -> None:
    paths = {str(getattr(route, "path", "")) for route in build_routes(ServiceDouble(tmp_path), version="1")}
    for page in ("/docs", "/redoc", "/openapi.json"):
        assert page in paths and page in PAGE
