"""Who works holds an attempt under an epoch; whoever lost it changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import Door, JobFailure, JobState, Outcome, Stage, job8
from orchestrator_mcp.domain.situation import LastRender
from orchestrator_mcp.domain.transitions import NEXT
from orchestrator_mcp.errors import JobFinishedError, LeaseLostError, NotFoundError
from orchestrator_mcp.store import JobStore, OpenAttempt
from tests.store.building import artifact, candidate, free, later, look, new_job, opened

Write = Callable[[JobStore, OpenAttempt], Awaitable[None]]

WRITES: dict[str, Write] = {
    "advance": lambda store, held: store.advance(held, Stage.RENDERING, later(9), accepted_as="other"),
    "warn": lambda store, held: store.warn(held, "late", later(9)),
    "finish": lambda store, held: store.finish(
        held, JobState.COMPLETED, Outcome.SUCCEEDED, later(9), reason="late", artifacts=[artifact()]
    ),
    "requeue": lambda store, held: store.requeue(held, Outcome.LOST, later(9), reason="late", avoid=True, charge=True),
}


@pytest.fixture
async def held(store: JobStore) -> OpenAttempt:
    """An attempt that was just claimed."""
    await store.accept(new_job())
    [claimed] = await store.claim(free(candidate()), later(1))
    return claimed


def everything(path: Path) -> list[list[tuple[object, ...]]]:
    tables = ("job", "attempt", "artifact", "history", "lane")
    return [look(path, f"SELECT * FROM {table}") for table in tables]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("lost", ["another epoch", "another attempt", "the job ended", "the job was queued again"])
async def test_a_late_write_is_refused_and_changes_nothing(
    store: JobStore, held: OpenAttempt, path: Path, told: list[JobChanged], write: Write, lost: str
) -> None:
    match lost:
        case "another epoch":
            held = dataclasses.replace(held, epoch=held.epoch - 1)
        case "another attempt":
            held = dataclasses.replace(held, number=held.number + 1)
        case "the job ended":
            await store.finish(held, JobState.FAILED, Outcome.ERRORED, later(2), reason="ended")
        case "the job was queued again":
            await store.requeue(held, Outcome.LOST, later(2), reason="lost")
    before, events = everything(path), len(told)
    with pytest.raises(LeaseLostError):
        await write(store, held)
    assert everything(path) == before
    assert len(told) == events


async def test_a_stage_and_the_backends_own_prompt_id_are_stored(store: JobStore, held: OpenAttempt) -> None:
    await store.advance(held, Stage.WAITING, later(2), accepted_as="drawn by an old server")
    waiting = (await store.job(held.job_id)).job
    assert (waiting.started_at, waiting.attempts[0].started_at) == (None, later(2))
    await store.advance(held, Stage.RENDERING, later(3))
    assert (await store.job(held.job_id)).job.started_at == later(3)
    whole = await store.job_with_story(held.job_id)
    assert whole.stored.job.stage is Stage.RENDERING
    assert whole.stored.job.attempts[0].prompt_id == "drawn by an old server"
    assert [row.stage for row in whole.history] == [None, "dispatching", "waiting", "rendering"]


async def test_a_completed_job_has_its_files_in_order_and_is_due_for_delivery(
    store: JobStore, held: OpenAttempt, told: list[JobChanged]
) -> None:
    files = [artifact("z.png"), artifact("a.mp4", kind="video", media_type="video/mp4", size=2**40)]
    await store.finish(held, JobState.COMPLETED, Outcome.SUCCEEDED, later(5), reason="rendered", artifacts=files)
    job = (await store.job(held.job_id)).job
    assert (job.state, job.stage, job.outputs, job.finished_at) == (JobState.COMPLETED, None, tuple(files), later(5))
    assert (job.attempts[0].outcome, job.attempts[0].ended_at) == (Outcome.SUCCEEDED, later(5))
    assert await store.undelivered(limit=10) == [held.job_id]
    await store.record_delivery(held.job_id, "/outbox/card")
    assert await store.undelivered(limit=10) == []
    assert (await store.job(held.job_id)).job.delivery_path == "/outbox/card"
    assert told[-1].state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        pytest.param({}, False, id="by HTTP"),
        pytest.param({"door": Door.INBOX}, True, id="by the Inbox"),
        pytest.param({"claim": InboxClaim(claim_id="c1", file_name="shot.json")}, True, id="a manifest joined it"),
    ],
)
async def test_a_job_that_does_not_go_to_the_outbox_is_done_with_at_its_end_unless_the_inbox_waits_for_it(
    store: JobStore, fields: dict[str, Any], due: bool
) -> None:
    await store.accept(new_job(**fields))
    [held] = await store.claim(free(candidate()), later(1))
    await store.finish(held, JobState.COMPLETED, Outcome.SUCCEEDED, later(5), reason="rendered", deliver=False)
    assert await store.undelivered(limit=10) == [held.job_id] * due
    assert (await store.job(held.job_id)).delivered is not due


async def test_a_failed_job_says_why_and_whether_somebody_should_look(store: JobStore, held: OpenAttempt) -> None:
    why = JobFailure(code="outcome_unknown", message="nobody knows", hint="look", details={"node": 3})
    await store.finish(held, JobState.FAILED, Outcome.UNKNOWN, later(5), reason="unknown", failure=why, attention=True)
    job = (await store.job(held.job_id)).job
    assert (job.failure, job.attention) == (why, True)


async def test_a_retry_waits_for_its_time_and_avoids_the_backend_where_it_failed(
    store: JobStore, held: OpenAttempt
) -> None:
    await store.requeue(
        held, Outcome.ERRORED, later(2), reason="out of memory", not_before=later(60), avoid=True, charge=True
    )
    stored = await store.job(held.job_id)
    assert (stored.job.state, stored.job.state.status, stored.job.backend_id) == (JobState.WAITING, "queued", None)
    assert stored.lane.avoid == {"one"}
    assert await store.claim(free(candidate("two")), later(3)) == []
    assert await store.next_due() == round(later(60).timestamp() * 1000)
    assert await store.promote_due(later(59.999)) == 0
    assert await store.promote_due(later(60)) == 1
    assert await store.next_due() is None
    assert await store.claim(free(candidate("one")), later(61)) == []
    [again] = await store.claim(free(candidate("two")), later(61))
    assert (again.number, again.charged) == (2, 1)


async def test_a_queued_job_is_cancelled_at_once(store: JobStore, path: Path) -> None:
    job_id = (await store.accept(new_job())).job_id
    assert await store.request_cancel(job_id, later(1)) is JobState.QUEUED
    job = (await store.job(job_id)).job
    assert (job.state, job.attempts, job.finished_at) == (JobState.CANCELLED, (), later(1))
    assert await store.request_cancel(job_id, later(2)) is JobState.CANCELLED
    assert await store.undelivered(limit=1) == [job_id]
    assert look(path, "SELECT queued FROM lane") == [(0,)]


async def test_a_job_that_waits_for_a_retry_is_cancelled_at_once(store: JobStore, held: OpenAttempt) -> None:
    await store.requeue(held, Outcome.REFUSED, later(2), reason="away", not_before=later(60))
    assert await store.request_cancel(held.job_id, later(3)) is JobState.WAITING
    assert await store.promote_due(later(99)) == 0
    assert (await store.job(held.job_id)).job.state is JobState.CANCELLED


async def test_a_running_job_is_flagged_once_and_its_runner_is_told(
    store: JobStore, held: OpenAttempt, told: list[JobChanged]
) -> None:
    assert await store.request_cancel(held.job_id, later(2)) is JobState.RUNNING
    assert (told[-1].cancel, told[-1].state, told[-1].stage) == (True, JobState.RUNNING, Stage.DISPATCHING)
    events = len(told)
    assert await store.request_cancel(held.job_id, later(3)) is JobState.RUNNING
    job = (await store.job(held.job_id)).job
    assert (job.state, job.cancel_requested_at) == (JobState.RUNNING, later(2))
    assert len(told) == events


async def test_a_flagged_job_that_would_be_tried_again_is_cancelled_instead(store: JobStore, held: OpenAttempt) -> None:
    await store.request_cancel(held.job_id, later(2))
    await store.requeue(held, Outcome.LOST, later(3), reason="the backend went away", not_before=later(60))
    job = (await store.job(held.job_id)).job
    assert (job.state, job.attempts[0].outcome) == (JobState.CANCELLED, Outcome.LOST)
    assert await store.counts() == (0, 0)


async def test_a_render_that_ended_before_its_cancel_took_hold_stays_completed(
    store: JobStore, held: OpenAttempt
) -> None:
    await store.request_cancel(held.job_id, later(2))
    await store.finish(held, JobState.COMPLETED, Outcome.SUCCEEDED, later(3), reason="rendered")
    assert (await store.job(held.job_id)).job.state is JobState.COMPLETED


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
async def test_what_has_ended_cannot_be_cancelled(store: JobStore, held: OpenAttempt, state: JobState) -> None:
    await store.finish(held, state, Outcome.SUCCEEDED, later(2), reason="ended")
    with pytest.raises(JobFinishedError, match=state.value):
        await store.request_cancel(held.job_id, later(3))


async def test_a_job_that_is_not_there_cannot_be_asked_for(store: JobStore) -> None:
    with pytest.raises(NotFoundError):
        await store.request_cancel("nobody", later(1))
    with pytest.raises(NotFoundError, match="GET /api/jobs show"):
        await store.job("nobody")


async def test_an_id_that_is_nearly_one_is_told_which(store: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    await store.accept(new_job())
    for ask in (store.job(job8(job_id)), store.request_cancel(job_id.upper(), later(1))):
        with pytest.raises(NotFoundError) as refused:
            await ask
        assert refused.value.hint == f"Did you mean {job_id}?"


async def test_every_change_of_a_job_passes_the_state_table(
    store: JobStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a table that allows nothing, nothing can happen."""
    for number in range(3):
        await store.accept(new_job(at=later(number)))
    [waiting] = await store.claim(free(candidate()), later(3))
    await store.requeue(waiting, Outcome.REFUSED, later(3), reason="away", not_before=later(4))
    [running] = await store.claim(free(candidate()), later(3))
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: store.finish(running, JobState.COMPLETED, Outcome.SUCCEEDED, later(5), reason="rendered"),
        lambda: store.requeue(running, Outcome.LOST, later(5), reason="lost"),
        lambda: store.claim(free(candidate()), later(5)),
        lambda: store.promote_due(later(5)),
        lambda: store.request_cancel(waiting.job_id, later(5)),
    ]
    before = everything(path)
    for state in JobState:
        monkeypatch.setitem(NEXT, state, frozenset())
    for change in changes:
        with pytest.raises(AssertionError, match="no way from"):
            await change()
    assert everything(path) == before


async def test_a_new_start_owns_the_backends_and_fences_whoever_owned_them_before(path: Path) -> None:
    async with opened(path) as store:
        epochs = await store.take_leases("before", ["one", "two"])
        assert epochs == {"one": 1, "two": 1}
        job_id = (await store.accept(new_job())).job_id
        [old] = await store.claim(free(candidate("one", epoch=epochs["one"])), later(1))
        await store.advance(old, Stage.RENDERING, later(2), accepted_as=old.prompt_id)
    async with opened(path) as store:
        epochs = await store.take_leases("after", ["one", "two", "three"])
        assert epochs == {"one": 2, "two": 2, "three": 1}
        [adopted] = await store.adopt(epochs)
        assert (adopted.job_id, adopted.number, adopted.epoch, adopted.accepted) == (job_id, 1, 2, True)
        assert (adopted.stage, adopted.prompt_id) == (Stage.RENDERING, old.prompt_id)
        with pytest.raises(LeaseLostError):
            await store.finish(old, JobState.COMPLETED, Outcome.SUCCEEDED, later(3), reason="from the grave")
        await store.finish(adopted, JobState.COMPLETED, Outcome.SUCCEEDED, later(4), reason="adopted")
        assert await store.adopt(epochs) == []


async def test_a_cancel_that_came_before_the_restart_is_still_wanted_after_it(path: Path) -> None:
    async with opened(path) as store:
        epochs = await store.take_leases("before", ["one"])
        await store.accept(new_job())
        [held] = await store.claim(free(candidate("one", epoch=epochs["one"])), later(1))
        await store.request_cancel(held.job_id, later(2))
    async with opened(path) as store:
        [adopted] = await store.adopt(await store.take_leases("after", ["one"]))
        assert (adopted.cancel_requested, adopted.accepted) == (True, False)


async def test_an_attempt_on_a_backend_that_is_no_longer_configured_can_be_ended(path: Path) -> None:
    async with opened(path) as store:
        epochs = await store.take_leases("before", ["gone"])
        await store.accept(new_job())
        await store.claim(free(candidate("gone", epoch=epochs["gone"])), later(1))
    async with opened(path) as store:
        [adopted] = await store.adopt(await store.take_leases("after", ["one"]))
        await store.requeue(adopted, Outcome.LOST, later(2), reason="no longer configured")
        assert await store.counts() == (1, 0)


async def test_a_warning_of_a_running_job_is_kept_once_and_told(
    store: JobStore, held: OpenAttempt, told: list[JobChanged]
) -> None:
    events = len(told)
    for _ in range(2):
        await store.warn(held, "the backend goes on", later(2))
    stored = await store.job(held.job_id)
    assert list(stored.job.warnings).count("the backend goes on") == 1
    assert len(told) == events + 2
    assert ((await store.job_with_story(stored.job.job_id)).history)[-1].reason == "the backend goes on"


async def test_the_last_success_of_a_backend_is_its_newest_completed_job(store: JobStore, held: OpenAttempt) -> None:
    assert await store.last_successes(among=10) == {}
    await store.finish(held, JobState.COMPLETED, Outcome.SUCCEEDED, later(2), reason="done")
    await store.accept(new_job())
    [failed] = await store.claim(free(candidate()), later(3))
    await store.finish(failed, JobState.FAILED, Outcome.ERRORED, later(4), reason="broken")
    assert await store.last_successes(among=10) == {held.backend_id: LastRender(prompt_id=held.prompt_id, model_key="")}
    assert await store.last_successes(among=0) == {}
