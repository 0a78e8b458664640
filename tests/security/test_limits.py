"""What is too much is refused, through each door, with the limit in the words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.domain.policy import denials
from orchestrator_mcp.domain.rates import MOST_NAMES, Buckets
from orchestrator_mcp.settings import LimitSettings, load_settings
from tests.security.guarded import PICTURE, TOKENS, agent, appeared, guarded

WAITING: dict[str, Any] = {"workflow": PICTURE, "required_capabilities": ["nobody-has-this"]}
SIZES = """limits: {body_bytes: 20kB, graph_depth: 20, graph_nodes: 5}
policy: {denied_nodes: [Execute*, LoadImageFromUrl]}
"""


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


DENIED = {"workflow": {**PICTURE, "9": {"class_type": "ExecutePython", "inputs": {"code": "import os"}}}}
TOO_MUCH: dict[str, tuple[dict[str, Any], int, str]] = {
    "bytes": ({**WAITING, "metadata": {"note": "x" * 21_000}}, 413, "20,000"),
    "depth": ({"workflow": {"1": {"class_type": "EmptyImage", "inputs": {"x": deep(30)}}}}, 422, "20 levels"),
    "nodes": ({"workflow": {str(number): PICTURE["1"] for number in range(6)}}, 413, "at most 5"),
    "policy": (DENIED, 422, "denies the node class 'ExecutePython' (policy.denied_nodes: 'Execute*')"),
}


async def test_http_refuses_what_is_too_much(tmp_path: Path) -> None:
    async with guarded(tmp_path, SIZES, tokens=False) as farm, farm.client() as client:
        for kind, (manifest, status, told) in TOO_MUCH.items():
            response = await client.post("/api/job", json=manifest)
            said = " ".join(json.dumps(response.json(), ensure_ascii=False).split())
            assert (response.status_code, told in said) == (status, True), (kind, response.text)
        assert (await client.get("/api/jobs")).json()["jobs"] == []


async def test_the_inbox_refuses_what_is_too_much(tmp_path: Path) -> None:
    async with guarded(tmp_path, SIZES, tokens=False):
        for kind in ("nodes", "policy"):  # what does not parse is given time, see the tests of the Inbox
            manifest, _, told = TOO_MUCH[kind]
            (tmp_path / "Inbox" / f"{kind}.tmp").write_text(json.dumps(manifest), encoding="utf-8")
            (tmp_path / "Inbox" / f"{kind}.tmp").rename(tmp_path / "Inbox" / f"{kind}.json")
            reason = tmp_path / "Inbox" / "failed" / f"{kind}.json.error.json"
            await appeared(reason)
            assert told in reason.read_text(encoding="utf-8"), kind


async def test_agents_are_refused_what_is_too_much(tmp_path: Path) -> None:
    async with guarded(tmp_path, SIZES, tokens=False) as farm, agent(farm, "/mcp", None) as client:
        for kind in ("depth", "nodes", "policy"):
            manifest, _, told = TOO_MUCH[kind]
            refused = await client.call_tool("submit_job", manifest)
            assert refused.is_error and told in str(refused.content[0].text), (kind, refused.content)  # type: ignore[union-attr]


async def test_a_caller_that_is_too_fast_is_told_when_to_come_back_and_others_are_not_held_up(tmp_path: Path) -> None:
    config = "limits: {submits_per_second: 0.01, submit_burst: 2}\n"
    async with guarded(tmp_path, config) as farm, farm.client("alice") as alice, farm.client("bob") as bob:
        for _ in range(2):
            assert (await alice.post("/api/job", json=WAITING)).status_code == 202
        refused = await alice.post("/api/job", json=WAITING)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
        assert "limits.submits_per_second is 0.01" in refused.json()["detail"]
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert (await bob.post("/api/job", json=WAITING)).status_code == 202
        async with agent(farm, "/mcp", "alice") as client:
            told = await client.call_tool("submit_job", WAITING)
            assert told.is_error and "limits.submits_per_second" in str(told.content)


async def test_a_full_queue_is_told_at_once(tmp_path: Path) -> None:
    async with guarded(tmp_path, "limits: {queued_jobs: 1}\n") as farm, farm.client("alice") as client:
        assert (await client.post("/api/job", json=WAITING)).status_code == 202
        refused = await client.post("/api/job", json=WAITING)
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert "limits.queued_jobs is 1" in refused.json()["detail"] and int(refused.headers["retry-after"]) >= 1
        async with agent(farm, "/mcp", "alice") as other:
            assert "limits.queued_jobs is 1" in str((await other.call_tool("submit_job", WAITING)).content)


async def test_a_caller_has_only_so_many_streams_of_all_kinds(tmp_path: Path) -> None:
    async with guarded(tmp_path, "limits: {streams: 2}\n") as farm, farm.client("alice") as client:
        job_id = (await client.post("/api/job", json=WAITING)).json()["job_id"]
        url, events = f"{farm.socket_url}/api/job/{job_id}/stream", f"/api/job/{job_id}/events"
        shown = {"Authorization": f"Bearer {TOKENS['alice']}"}
        async with connect(url, proxy=None, additional_headers=shown) as socket:
            assert await socket.recv()
            async with client.stream("GET", events) as open_events:
                assert open_events.status_code == 200
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(url, proxy=None, additional_headers=shown):
                        raise AssertionError("a third stream was opened")
                assert refused.value.response.status_code == 429
                assert int(refused.value.response.headers["retry-after"]) >= 1
                for path in (events, "/sse"):
                    response = await client.get(path)
                    assert (response.status_code, response.json()["code"]) == (429, "too_many"), path
                    assert "limits.streams is 2" in response.json()["detail"]
                async with farm.client("bob") as bob, bob.stream("GET", events) as other:
                    assert other.status_code == 200
        # Those that have ended count no more, as soon as the server has noticed.
        with anyio.fail_after(10):
            while True:
                async with client.stream("GET", events) as again:
                    if again.status_code == 200:
                        break
                await anyio.sleep(0.05)


def test_limits_of_callers_hold_beyond_loopback_unless_they_are_switched_off(tmp_path: Path) -> None:
    def in_force(host: str, config: str = "") -> tuple[object, ...]:
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
        limits = load_settings(tmp_path / "config.yaml", host=host, environ={}).limits_in_force
        return limits.queued_jobs, limits.submits_per_second, limits.streams

    assert in_force("127.0.0.1") == (None, None, None)
    assert in_force("0.0.0.0") == (100_000, 20.0, 1000)
    written = "limits: {queued_jobs: 7, submits_per_second: 0.5, streams: 3}\n"
    assert in_force("127.0.0.1", written) == in_force("0.0.0.0", written) == (7, 0.5, 3)
    assert in_force("0.0.0.0", "limits: {queued_jobs: 0, submits_per_second: 0, streams: 0}\n") == (None, None, None)
    assert LimitSettings().in_force(exposed=True).page == LimitSettings().page


def test_callers_are_counted_by_token_else_by_address_and_the_program_itself_is_not() -> None:
    assert Caller(name="alice", address="10.0.0.1").counted_as == Caller(name="alice", address="10.0.0.2").counted_as
    assert Caller(address="10.0.0.1").counted_as != Caller(address="10.0.0.2").counted_as
    assert Caller().counted_as is None


def test_a_bucket_gives_its_burst_and_then_the_rate() -> None:
    buckets = Buckets()
    assert [buckets.take("a", 100.0, rate=2.0, burst=3) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("b", 100.0, rate=2.0, burst=3) == 0.0
    assert buckets.take("a", 100.25, rate=2.0, burst=3) == 0.25
    assert buckets.take("a", 100.5, rate=2.0, burst=3) == 0.0
    assert [buckets.take("a", 1000.0, rate=2.0, burst=3) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("a", 999.0, rate=2.0, burst=3) == 0.5, "a clock that goes back gives nothing"


def test_the_buckets_of_many_addresses_take_only_so_much_memory() -> None:
    buckets = Buckets()
    for number in range(MOST_NAMES + 50):
        buckets.take(str(number), 0.0, rate=1.0, burst=1)
    assert len(buckets._left) == MOST_NAMES


@pytest.mark.parametrize(
    ("pattern", "name", "denied"),
    [
        ("ExecutePython", "ExecutePython", True),
        ("ExecutePython", "executepython", False),
        ("Execute*", "ExecutePython", True),
        ("*Python*", "ExecutePythonCode", True),
        ("*", "anything\nat all", True),
        ("Execute", "ExecutePython", False),
        ("Exec?tePython", "ExecutePython", False),
        ("[A-Z]*", "ExecutePython", False),
        ("a**********b", "a" * 5000, False),
    ],
)
def test_a_policy_names_classes_and_a_star_stands_for_anything(pattern: str, name: str, denied: bool) -> None:
    assert bool(list(denials({"1": {"class_type": name, "inputs": {}}}, [pattern]))) is denied


async def test_a_workflow_of_the_library_is_under_the_policy_too(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "bad.json").write_text(json.dumps(DENIED["workflow"]), encoding="utf-8")
    async with guarded(tmp_path, SIZES, tokens=False) as farm, farm.client() as client:
        response = await client.post("/api/job", json={"workflow_id": "bad"})
        assert response.status_code == 422
        (problem,) = response.json()["detail"]
        assert (problem["loc"], problem["type"]) == (["body", "workflow", "9", "class_type"], "denied_node")
