"""Secrets are planted wherever they can stand, and then looked for wherever they must not."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.jobs import Attempt, Door, Job, JobFailure, JobState, Outcome
from orchestrator_mcp.domain.text import MAX_TEXT_BYTES, plain, told, told_values, without_secrets
from orchestrator_mcp.domain.views import BackendView, ParameterView, WorkflowView
from orchestrator_mcp.logs import configure_logging
from orchestrator_mcp.service.showing import Live, backend_view, job_view, workflow_view
from tests.security.guarded import TOKENS, Guarded, agent, guarded

CANARY = "canary"
KEY = f"{CANARY}-key-0123456789"
NAMES = ["api_key_comfy_org", "auth_token_comfy_org", "Authorization", "password", "6.api_key", "x:hf_token", "API-KEY"]
GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {
            "width": 64,
            "height": 64,
            "batch_size": 1,
            "color": 255,
            "api_key_comfy_org": KEY,
            "auth_token_comfy_org": f"{CANARY}-auth",
            "note": f"see https://artist:{CANARY}-url@studio.example/x",
        },
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}
METADATA = {
    "secret": f"{CANARY}-secret",
    "deep": [{"headers": {"Authorization": f"Bearer {CANARY}-bearer"}}],
    "said": f"Bearer {CANARY}-said",
    "source": f"ftp://me:{CANARY}-ftp@host/",
}
PARAMETERS = {"1.api_key_comfy_org": f"{CANARY}-parameter", "1.width": 96}
MANIFEST = {"workflow": GRAPH, "metadata": METADATA, "parameters": PARAMETERS}


async def test_planted_secrets_are_found_nowhere(tmp_path: Path) -> None:
    said: list[str] = []
    with configure_logging(tmp_path / "logs", "debug"):
        async with guarded(tmp_path) as farm:
            said += await through_http(farm)
            said += await through_mcp(farm)
            said += await through_the_inbox(farm)
            told_by_hand = (await farm.running.service.health()).model_dump_json()
            said.append(told_by_hand)
    check_files(tmp_path, said)


def check_files(folder: Path, said: list[str]) -> None:
    """Look for everything that was planted in every file and every answer."""
    written = [path for path in folder.rglob("*") if path.is_file() and must_be_clean(path.relative_to(folder))]
    names = {path.name for path in written}
    assert {"orchestrator.log", "result.json"} <= names and len(said) >= 20
    own = (folder / "data" / "token").read_text(encoding="ascii").strip()
    for text in [*said, *(path.read_text(encoding="utf-8") for path in written)]:
        assert CANARY not in text, text[max(0, text.index(CANARY) - 200) :][:400]
        for token in (own, *TOKENS.values()):
            assert token not in text
    for path in (folder / "data").glob("orchestrator.db*"):
        for token in (own, *TOKENS.values()):
            assert token.encode() not in path.read_bytes(), path


def must_be_clean(path: Path) -> bool:
    """Whether a file is one that we write for others: logs, results, reasons. Pictures hold the graph, as ComfyUI's."""
    return path.parts[0] == "logs" or path.name == "result.json" or path.name.endswith(".error.json")


async def through_http(farm: Guarded) -> list[str]:
    said = []
    async with farm.client("alice") as client, farm.client() as stranger:
        accepted = await client.post("/api/job", json=MANIFEST, headers={"Idempotency-Key": "k"})
        assert accepted.status_code == 202, accepted.text
        job_id = accepted.json()["job_id"]
        events = await client.get(f"/api/job/{job_id}/events")
        said += [accepted.text, events.text]
        assert json.loads(events.text.rstrip().rpartition("data: ")[2])["job"]["status"] == "completed"
        for path in ("/api/jobs", f"/api/job/{job_id}", f"/api/job/{job_id}/outputs", "/api/backends", "/health"):
            said.append((await client.get(path)).text)
        wrong = {**MANIFEST, "parameters": {**PARAMETERS, "1.nothing": KEY, "authorisation": KEY}}
        for body in (wrong, {**MANIFEST, "priority": "high"}, {**MANIFEST, "backend_affinity": "nobody"}, [KEY]):
            refused = await client.post("/api/job", json=body)
            assert 400 <= refused.status_code < 500
            said.append(refused.text)
        for shown in (f"Bearer {KEY}", f"Basic {KEY}", f"Bearer {TOKENS['boss']}x"):
            said.append((await stranger.get("/api/jobs", headers={"Authorization": shown})).text)
        said.append((await stranger.get(f"/api/jobs?token={KEY}")).text)
    return said


async def through_mcp(farm: Guarded) -> list[str]:
    async with agent(farm, "/mcp", "alice") as client:
        accepted = await client.call_tool("submit_job", MANIFEST)
        assert accepted.structured_content is not None
        job = {"job_id": accepted.structured_content["job_id"], "wait_seconds": 30}
        status = await client.call_tool("job_status", job)
        refused = await client.call_tool("submit_job", {**MANIFEST, "priority": "high"})
        backends = await client.call_tool("list_backends", {})
    return [str(answer.model_dump()) for answer in (accepted, status, refused, backends)]


async def through_the_inbox(farm: Guarded) -> list[str]:
    inbox, outbox = farm.folder / "Inbox", farm.folder / "Outbox"
    for name, manifest in (("good", MANIFEST), ("bad", {**MANIFEST, "priority": "high"})):
        (inbox / f"{name}.tmp").write_text(json.dumps(manifest), encoding="utf-8")
        (inbox / f"{name}.tmp").rename(inbox / f"{name}.json")
    with anyio.fail_after(45):
        while True:
            if len(list(outbox.glob("*/result.json"))) == 3 and list((inbox / "failed").glob("*.error.json")):
                return []
            await anyio.sleep(0.05)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_under_the_name_of_a_secret_is_hidden_and_a_link_stays(name: str) -> None:
    assert without_secrets({name: KEY}) == {name: "[hidden]"}
    assert without_secrets({name: ["4", 0]}) == {name: ["4", 0]}
    assert without_secrets({name: {"value": KEY}}) == {name: "[hidden]"}
    assert told_values({name: KEY}) == {name: "[hidden]"}


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "a secret: the garden, password of the night, token ring", "max_tokens": 5, "tokens": "many"},
        {"text": "https://studio.example/a:b@c", "secretary": "bird", "passwordless": "yes"},
        {"prompt": "x" * 200_000, "seed": 2**64 - 1, "cfg": 7.5, "flag": True, "nothing": None, "api_key": ""},
        [["4", 0], [], {}, ""],
    ],
)
def test_what_is_no_secret_is_given_back_as_it_came(value: Any) -> None:
    assert without_secrets(value) == value


HOSTILE = "\x1b[31mred\x00 \u202eevil\u202c \u200bzero\ufeff \U000e0041tag"


def test_texts_of_backends_are_stripped_and_capped_in_every_view() -> None:
    long = HOSTILE + f" Authorization: Bearer {KEY}\n" + "x" * 100_000
    at = datetime(2026, 1, 1, tzinfo=UTC)
    attempt = Attempt(
        number=1, backend_id="a", prompt_id="p", started_at=at, ended_at=at, outcome=Outcome.ERRORED, reason=long
    )
    details = {"current_inputs": {"api_key": [KEY]}, "traceback": [long] * 500, long: {"a": [[[[[long]]]]]}}
    job = Job(
        job_id="j",
        state=JobState.FAILED,
        workflow_id="w",
        parameters={},
        metadata={},
        seeds={},
        priority=0,
        door=Door.HTTP,
        owner="alice",
        submitted_at=at,
        attempts=(attempt,),
        failure=JobFailure(code="node_error", message=long, hint=long, details=details),
        warnings=(long,),
    )
    shown = [
        job_view(job, Live(reasons=[("a", long)]), "http://x").model_dump_json(),
        backend_view(
            BackendView(id="a", name="a", host="h", port=1, reason=long, comfyui_version=long, devices=[{"name": long}])
        ).model_dump_json(),
        workflow_view(
            WorkflowView(id="w", title=long, problem=long, parameters=[ParameterView(name="6.api_key", default=KEY)])
        ).model_dump_json(),
    ]
    for text in shown:
        assert CANARY not in text and len(text) < 400_000
        for unseen in ("\\u001b", "\\u0000", "\u202e", "\u200b", "\ufeff", "\U000e0041"):
            assert unseen not in text
    assert "red" in shown[0] and "evil" in shown[0]


@given(st.text(max_size=3000))
def test_a_plain_text_is_bounded_and_has_nothing_that_cannot_be_seen(text: str) -> None:
    shown = plain(text)
    assert len(shown.encode()) <= MAX_TEXT_BYTES
    assert plain(shown) == shown
    assert not {unicodedata.category(char) for char in shown if char not in "\n\t"} & {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Zl",
        "Zp",
    }
    assert len(told(text).encode()) <= MAX_TEXT_BYTES
