"""A thousand listeners of one job, and one of them never reads."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from benchmarks.crowd import Crowd, Heard, connect_and_never_read, listen, percentile
from orchestrator_mcp.app import Orchestrator, orchestrator
from orchestrator_mcp.domain.views import StreamEvent
from orchestrator_mcp.settings import load_settings
from tests.submissions import submission

EVERYBODY = 1000
LONG: dict[str, Any] = {"workflow_id": "my_workflow_001", "parameters": {"steps": 5000}}
SHORT: dict[str, Any] = {"workflow_id": "my_workflow_001", "parameters": {"steps": 40}}


@pytest.fixture(autouse=True)
def enough_files() -> None:
    """Two ends of each connection lie in this process."""
    if sys.platform == "win32":
        pytest.skip("needs as many sockets as Windows has not")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * EVERYBODY + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} open files, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    (tmp_path / "config.yaml").write_text("data_dir: ./data\n", encoding="utf-8")
    with anyio.fail_after(170):
        async with orchestrator(load_settings(tmp_path / "config.yaml", port=0, environ={})) as started:
            yield started


async def submitted(running: Orchestrator, manifest: dict[str, Any]) -> str:
    return (await running.service.submit(submission(**manifest))).job_id


@pytest.mark.slow
async def test_a_thousand_listeners_all_hear_of_the_end_although_one_never_reads(
    running: Orchestrator,
) -> None:
    first = await submitted(running, LONG)  # holds the only slot until everybody is there
    job_id = await submitted(running, SHORT)
    crowd = Crowd([Heard("ws" if number % 2 else "sse") for number in range(EVERYBODY)])
    with connect_and_never_read(running.url, job_id):
        async with anyio.create_task_group() as tasks:
            for heard in crowd.heard:
                await tasks.start(listen, running.url, job_id, heard.kind, heard)
            await running.service.cancel(first)
        delays = crowd.delays()
        sys.stderr.write(
            f"{len(delays)} events, p99 {percentile(delays, 0.99) * 1000:.0f} ms after the first listener\n"
        )
    for heard in crowd.heard:
        states = [event["seq"] for _, event in heard.events if event["type"] != "progress"]
        assert heard.ended and states == sorted(states)
        assert heard.events[0][1]["job"]["status"] == "queued"
        assert heard.events[-1][1]["job"]["status"] == "completed"


async def test_listeners_of_one_change_share_one_look_at_it(running: Orchestrator) -> None:
    first = await submitted(running, LONG)
    job_id = await submitted(running, SHORT)
    told: dict[tuple[str, int], set[int]] = {}
    kept: list[StreamEvent] = []

    async def follow(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with running.service.watch(job_id) as events:
            async for event in events:
                if event.type == "job" and event.job is not None and event.job.status == "queued":
                    task_status.started()
                    continue
                kept.append(event)  # so that no two of them have one address
                told.setdefault((event.type, event.seq if event.type != "progress" else -1), set()).add(id(event))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            await tasks.start(follow)
        await running.service.cancel(first)
    told.pop(("progress", -1), None)
    assert len(told) >= 3 and ("end", max(seq for _, seq in told)) in told
    assert {len(events) for events in told.values()} == {1}
