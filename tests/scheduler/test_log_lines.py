"""Whoever searches the log for a job, an attempt or a backend finds every line that is about it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from orchestrator_mcp.domain.wishes import Action
from orchestrator_mcp.sandbox import FaultProxy, Sandbox, SandboxOptions
from tests.scheduler.core import backend_for, core, quick, render

SLOW = SandboxOptions(step_ms=50, load_ms=0)
Fields = tuple[object, object, object]


def fields_of(caplog: pytest.LogCaptureFixture, words: str) -> Fields:
    """Job, attempt and backend of the one line that has these words."""
    [record] = [record for record in caplog.records if words in record.getMessage()]
    return (getattr(record, "job_id", None), getattr(record, "attempt", None), getattr(record, "backend_id", None))


async def test_lines_about_standbys_and_operators_say_of_which_job_attempt_and_backend(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        Sandbox(SLOW).serve() as server,
        core(tmp_path, [backend_for(server, "one", max_concurrent_jobs=2)]) as running,
    ):
        first = await running.submit(render(steps=200))
        await running.until(first, "running", stage="rendering")
        second = await running.submit(render(steps=1, seed=2))
        await running.until(second, "running", stage="waiting")
        await running.service.operators.act("one", Action.DRAIN)
        await running.until(second, "queued")
    assert fields_of(caplog, "taking back the standby") == (second, 1, "one")
    assert fields_of(caplog, "drain by ") == (None, None, "one")
    assert [record.levelname for record in caplog.records if "queued again" in record.getMessage()] == ["INFO"]


async def test_the_line_about_an_adopted_attempt_says_of_which_job_attempt_and_backend(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with Sandbox(SLOW).serve() as server:
        backends = [backend_for(server, "one")]
        async with core(tmp_path, backends) as running:
            job_id = await running.submit(render(steps=20))
            await running.until(job_id, "running", stage="rendering")
        async with core(tmp_path, backends) as running:
            await running.end_of(job_id)
    assert fields_of(caplog, "adopting") == (job_id, 1, "one")


async def test_while_it_is_not_known_whether_a_prompt_will_still_arrive_the_log_says_so_and_for_how_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Sandbox(SLOW).serve() as server, FaultProxy((server.host, server.port)).serve() as proxy:
        times = quick(post_timeout=0.3, quarantine=10.0)
        async with core(tmp_path, [backend_for(proxy, "one")], times) as running:
            proxy.set_fault("tcp-post-delay:2500")
            await running.end_of(await running.submit(render(steps=1)))
    told = [record.levelname for record in caplog.records if "it may be on its way for " in record.getMessage()]
    assert told == ["WARNING"]
