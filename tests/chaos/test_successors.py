"""A process that dies while a job waits here for the end of the render before it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest

from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.machine.marks import MARKS_NAME, boot_id
from tests.chaos.checker import check
from tests.chaos.driver import answers
from tests.chaos.ground import Ground, ground
from tests.chaos.life import Life, life
from tests.scheduler.core import render

pytestmark = pytest.mark.chaos


async def _submit(stand: Ground, url: str, seed: int) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        body = {"workflow": render(20, seed=seed), "idempotency_key": f"seed {seed}"}
        answer = (await client.post("/api/job", json=body)).raise_for_status()
        stand.keys[f"seed {seed}"] = answer.json()["job_id"]


async def _killed_while_one_waits(stand: Ground) -> None:
    """One job renders and does not end, the next one was claimed ahead: then the process is killed."""
    async with life(stand.config) as running:
        assert await running.opened()
        for seed in (1, 2, 3):
            await _submit(stand, running.url, seed)
            await stand.until_all_delivered(seed)
        stand.farm[0].set_fault("freeze")
        for seed in (4, 5):
            await _submit(stand, running.url, seed)
        await stand.until("SELECT count(*) = 2 AND sum(stage = 'dispatching') = 1 FROM job WHERE state = 1")
        running.kill()
    assert stand.farm[0].queue.remaining() == 1


async def _outcomes_of_the_successor(stand: Ground, running: Life) -> list[str]:
    """Let the render end that did not, and all others with it; how the attempts of the job ended that waited."""
    stand.farm[0].clear_faults()
    await stand.until_all_delivered(5)
    stand.answers = await answers(running.url)
    assert await running.stop() == 0
    verdict = check(stand)
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": 5}
    assert verdict.repeated == 0
    return [attempt["outcome"] for attempt in stand.answers[stand.keys["seed 5"]]["attempts"]]


@pytest.mark.skipif(boot_id() is None, reason="nothing is marked on this system")
async def test_a_job_that_was_claimed_ahead_waits_for_no_quarantine_after_a_crash(tmp_path: Path) -> None:
    async with ground(tmp_path, servers=1) as stand:
        stand.write_config(slots=1, post_timeout=300, quarantine=300)
        with anyio.fail_after(120):
            await _killed_while_one_waits(stand)
            async with life(stand.config) as running:
                assert await running.opened()
                await stand.until("SELECT count(*) = 1 FROM job WHERE state = 1")
                assert await _outcomes_of_the_successor(stand, running) == ["revoked", "succeeded"]


async def test_a_second_crash_does_not_forget_what_was_sent_before_the_first(tmp_path: Path) -> None:
    async with ground(tmp_path, servers=1) as stand:
        stand.write_config(slots=1)
        with anyio.fail_after(120):
            async with life(stand.config, crash_at=Step.MARKED) as running:
                assert await running.opened()
                with suppress(httpx.TransportError):  # it may die before it has answered
                    await _submit(stand, running.url, 1)
                assert await running.ended() < 0
            async with life(stand.config) as running:
                assert await running.opened()
                running.kill()
            async with life(stand.config) as running:
                assert await running.opened()
                await _submit(stand, running.url, 1)
                await stand.until_all_delivered(1)
                stand.answers = await answers(running.url)
                assert await running.stop() == 0
        verdict = check(stand)
        (job,) = stand.answers.values()
    assert verdict.faults == []
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["succeeded"], "it was in doubt to the end"


def _gone(marks: Path) -> None:
    marks.unlink()


def _cut_off(marks: Path) -> None:
    marks.write_bytes(marks.read_bytes()[:-1])


def _empty(marks: Path) -> None:
    marks.write_bytes(b"")


def _of_another_boot(marks: Path) -> None:
    _, _, rest = marks.read_bytes().partition(b"\n")
    marks.write_bytes(b"another\n" + rest)


def _of_another_life(marks: Path) -> None:
    boot, _, prompts = marks.read_bytes().split(b"\n", 2)
    marks.write_bytes(b"\n".join((boot, b"another", prompts)))


@pytest.mark.skipif(boot_id() is None, reason="nothing is marked on this system")
@pytest.mark.parametrize("harm", [_gone, _cut_off, _empty, _of_another_boot, _of_another_life])
async def test_without_good_marks_a_job_that_was_claimed_ahead_is_in_doubt(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async with ground(tmp_path, servers=1) as stand:
        stand.write_config(slots=1)
        with anyio.fail_after(120):
            await _killed_while_one_waits(stand)
            harm(stand.database.with_name(MARKS_NAME))
            async with life(stand.config) as running:
                assert await running.opened()
                assert await _outcomes_of_the_successor(stand, running) == ["succeeded"]


@pytest.mark.skipif(boot_id() is None, reason="nothing is marked on this system")
async def test_what_marks_do_not_know_is_found_again_where_it_was_sent(tmp_path: Path) -> None:
    async with ground(tmp_path, servers=1) as stand:
        stand.write_config(slots=1)
        with anyio.fail_after(120):
            async with life(stand.config, crash_at=Step.POSTED) as running:
                assert await running.opened()
                with suppress(httpx.TransportError):  # it may die before it has answered
                    await _submit(stand, running.url, 1)
                assert await running.ended() < 0
            marks = stand.database.with_name(MARKS_NAME)
            boot, owner, prompts = marks.read_bytes().split(b"\n", 2)
            assert prompts, "it was marked"
            marks.write_bytes(b"\n".join((boot, owner, b"")))
            async with life(stand.config) as running:
                assert await running.opened()
                await _submit(stand, running.url, 1)
                await stand.until_all_delivered(1)
                stand.answers = await answers(running.url)
                assert await running.stop() == 0
        verdict = check(stand)
        (job,) = stand.answers.values()
    assert (verdict.faults, verdict.repeated) == ([], 0)
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["succeeded"]
