"""Batches in the store: all or nothing, counted, ended once, cancelled, done again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobFailure, JobState, Outcome, Stage, is_batch_id
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import QueueLimits
from orchestrator_mcp.errors import (
    IdempotencyConflict,
    ManifestError,
    NotFoundError,
    NothingFailedError,
    QueueFullError,
)
from orchestrator_mcp.store import JobFilter, JobStore, OpenAttempt
from tests.batches.building import jobs_with_seeds, new_batch, spec_with_parent
from tests.store.building import artifact, candidate, free, later, look, new_job, opened


async def claim(store: JobStore, most: int = 10) -> list[OpenAttempt]:
    """Give so many jobs to idle backends."""
    return await store.claim(free(*(candidate(f"b{n}") for n in range(most))), later(1))


async def end(store: JobStore, held: OpenAttempt, state: JobState, seconds: float = 2) -> None:
    outcome = {JobState.COMPLETED: Outcome.SUCCEEDED, JobState.FAILED: Outcome.ERRORED}.get(state, Outcome.CANCELLED)
    failure = JobFailure(code="node_error", message="it broke") if state is JobState.FAILED else None
    files = [artifact(f"{held.job_id}.png")] if state is JobState.COMPLETED else []
    await store.finish(held, state, outcome, later(seconds), reason="over", failure=failure, artifacts=files)


async def end_all(store: JobStore, states: Sequence[JobState]) -> None:
    for held, state in zip(await claim(store, len(states)), states, strict=True):
        await end(store, held, state)


async def deliver(store: JobStore, batch_id: str) -> None:
    for stored in await store.jobs(JobFilter(batch_id=batch_id), before=None, limit=50):
        await store.record_delivery(stored.job.job_id, f"/Outbox/{stored.job.job_id}")


async def test_every_job_of_a_batch_is_a_job_like_any_other(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(3))
    assert is_batch_id(accepted.batch_id)
    assert accepted.count == 3
    for index, job_id in enumerate(accepted.job_ids):
        stored = await store.job(job_id)
        assert (stored.job.batch_id, stored.job.batch_index) == (accepted.batch_id, index)
        assert stored.job.parameters == {"seed": index}
        [told] = (await store.job_with_story(stored.job.job_id)).history
        assert (told.reason, told.seq) == ("accepted", stored.seq)
    assert await store.counts() == (3, 0)
    assert [held.job_id for held in await claim(store)] == list(accepted.job_ids)


async def test_a_graph_is_stored_once_however_many_jobs_there_are(store: JobStore, path: Path) -> None:
    await store.accept(new_job())
    await store.batches.accept(new_batch(50))
    assert look(path, "SELECT count(*) FROM document") == [(1,)]
    assert look(path, "SELECT count(*), count(DISTINCT seq) FROM job") == [(51, 51)]


async def test_a_batch_and_single_jobs_take_turns_with_their_numbers(store: JobStore, path: Path) -> None:
    await store.accept(new_job())
    await store.batches.accept(new_batch(3))
    await store.accept(new_job())
    await store.batches.accept(new_batch(2))
    assert look(path, "SELECT id, seq FROM job ORDER BY id") == [(n, n) for n in range(1, 8)]


async def test_one_hint_is_told_however_many_jobs_came(store: JobStore, told: list[JobChanged]) -> None:
    accepted = await store.batches.accept(new_batch(30))
    assert [event.job_id for event in told] == [accepted.job_ids[0]]


async def test_a_batch_that_does_not_fit_into_the_queue_is_refused_whole(store: JobStore, path: Path) -> None:
    await store.accept(new_job())
    with pytest.raises(QueueFullError, match="no room for 3 more jobs: 1 wait, and limits.queued_jobs is 3"):
        await store.batches.accept(new_batch(3), limits=QueueLimits(total=3))
    assert look(path, "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM batch)") == [(1, 0)]
    assert (await store.batches.accept(new_batch(2), limits=QueueLimits(total=3))).count == 2


async def test_a_parent_that_is_unknown_refuses_the_whole_batch(store: JobStore, path: Path) -> None:
    jobs = [*jobs_with_seeds(2), new_job(spec=spec_with_parent("nobody"))]
    with pytest.raises(ManifestError, match="nobody"):
        await store.batches.accept(new_batch(jobs=jobs))
    assert look(path, "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM batch)") == [(0, 0)]


async def test_a_batch_waits_for_its_parent_and_is_let_go_by_it(store: JobStore) -> None:
    parent = await store.accept(new_job())
    jobs = [new_job(spec=spec_with_parent(parent.job_id)) for _ in range(3)]
    accepted = await store.batches.accept(new_batch(jobs=jobs))
    assert (await store.batches.batch(accepted.batch_id)).counts == {JobState.WAITING: 3}
    [held] = await claim(store)
    assert held.job_id == parent.job_id
    await end(store, held, JobState.COMPLETED)
    assert (await store.batches.batch(accepted.batch_id)).counts == {JobState.QUEUED: 3}


async def test_a_batch_that_fails_with_its_parent_has_ended(store: JobStore) -> None:
    parent = await store.accept(new_job())
    jobs = [new_job(spec=spec_with_parent(parent.job_id)) for _ in range(3)]
    accepted = await store.batches.accept(new_batch(jobs=jobs))
    await end_all(store, [JobState.FAILED])
    stored = await store.batches.batch(accepted.batch_id)
    assert (stored.counts, stored.over) == ({JobState.FAILED: 3}, True)
    with pytest.raises(NothingFailedError, match=f"can be done again: .*{parent.job_id}"):
        await store.batches.retry(accepted.batch_id, later(9))


async def test_the_same_key_gives_the_same_batch_and_another_body_is_refused(store: JobStore) -> None:
    first = await store.batches.accept(new_batch(3, idempotency_key="k", body_hash="one"))
    again = await store.batches.accept(new_batch(3, idempotency_key="k", body_hash="one"))
    assert again.replayed
    assert (again.batch_id, again.count, again.job_ids) == (first.batch_id, 3, first.job_ids)
    with pytest.raises(IdempotencyConflict):
        await store.batches.accept(new_batch(3, idempotency_key="k", body_hash="two"))
    assert (await store.batches.accept(new_batch(3, owner="b", idempotency_key="k", body_hash="two"))).count == 3


async def test_a_key_of_a_job_is_no_key_for_a_batch_nor_the_other_way_round(store: JobStore) -> None:
    await store.accept(new_job(idempotency_key="j", body_hash="one"))
    with pytest.raises(IdempotencyConflict):
        await store.batches.accept(new_batch(idempotency_key="j", body_hash="two"))
    await store.batches.accept(new_batch(idempotency_key="b", body_hash="two"))
    with pytest.raises(IdempotencyConflict):
        await store.accept(new_job(idempotency_key="b", body_hash="one"))


async def test_an_inbox_file_makes_one_batch_however_often_it_is_handed_in(store: JobStore) -> None:
    claim = InboxClaim(claim_id="c1", file_name="shot.json")
    first = await store.batches.accept(new_batch(claim=claim))
    assert (await store.batches.accept(new_batch(claim=claim))).batch_id == first.batch_id
    assert await store.claimed_job("c1") == first.batch_id
    assert (await store.batches.batch(first.batch_id)).claim == claim


async def test_a_file_joins_a_batch_of_its_key_that_goes_on_and_no_other(store: JobStore) -> None:
    first = await store.batches.accept(new_batch(idempotency_key="k", body_hash="one"))
    claim = InboxClaim(claim_id="c1", file_name="shot.json")
    joined = await store.batches.accept(new_batch(idempotency_key="k", body_hash="one", claim=claim))
    assert joined.batch_id == first.batch_id
    other = InboxClaim(claim_id="c2", file_name="shot2.json")
    with pytest.raises(ManifestError, match="no other is made"):
        await store.batches.accept(new_batch(idempotency_key="k", body_hash="one", claim=other))


async def test_a_batch_stands_where_its_jobs_stand(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(4))
    await store.accept(new_job())
    held = await claim(store, 3)
    await store.advance(held[0], Stage.RENDERING, later(2))
    await end(store, held[0], JobState.COMPLETED, 5)
    await end(store, held[1], JobState.FAILED, 7)
    stored = await store.batches.batch(accepted.batch_id)
    assert stored.counts == {JobState.COMPLETED: 1, JobState.FAILED: 1, JobState.RUNNING: 1, JobState.QUEUED: 1}
    assert (stored.size, stored.total, stored.ended, stored.over) == (4, 4, 2, False)
    assert stored.running == (held[2].job_id,)
    assert (stored.started_at, stored.finished_at) == (later(2), None)
    await end(store, held[2], JobState.COMPLETED, 8)
    await end_all(store, [JobState.COMPLETED])
    stored = await store.batches.batch(accepted.batch_id)
    assert (stored.over, stored.finished_at) == (True, later(8))


async def test_attention_to_one_job_is_attention_to_its_batch(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(2))
    held = (await claim(store))[0]
    assert not (await store.batches.batch(accepted.batch_id)).attention
    await store.finish(held, JobState.FAILED, Outcome.UNKNOWN, later(2), reason="who knows", attention=True)
    assert (await store.batches.batch(accepted.batch_id)).attention


async def test_an_unknown_batch_is_said_to_be_none(store: JobStore) -> None:
    with pytest.raises(NotFoundError, match="There is no batch 'batch-1'"):
        await store.batches.batch("batch-1")
    with pytest.raises(NotFoundError):
        await store.batches.retry("batch-1", later(1))


async def test_batches_are_listed_newest_first_and_page_by_page(store: JobStore) -> None:
    ids = [(await store.batches.accept(new_batch(1))).batch_id for _ in range(3)]
    first = await store.batches.page(before=None, limit=2)
    assert [one.batch_id for one in first] == ids[:0:-1]
    assert [one.batch_id for one in await store.batches.page(before=first[-1].row, limit=2)] == ids[:1]


async def test_the_list_of_jobs_can_show_one_batch(store: JobStore) -> None:
    await store.accept(new_job())
    accepted = await store.batches.accept(new_batch(2))
    await store.batches.accept(new_batch(1))
    listed = await store.jobs(JobFilter(batch_id=accepted.batch_id), before=None, limit=50)
    assert {one.job.job_id for one in listed} == set(accepted.job_ids)
    assert await store.jobs(JobFilter(batch_id="batch-none"), before=None, limit=50) == []


async def test_a_batch_is_due_for_delivery_once_all_of_its_jobs_are_delivered(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(2))
    await end_all(store, [JobState.COMPLETED, JobState.FAILED])
    assert await store.batches.undelivered(limit=9) == []
    await deliver(store, accepted.batch_id)
    assert await store.batches.undelivered(limit=9) == [accepted.batch_id]
    await store.batches.record_delivery(accepted.batch_id, "/Outbox/sheet")
    assert await store.batches.undelivered(limit=9) == []
    stored = await store.batches.batch(accepted.batch_id)
    assert (stored.delivered, stored.delivery_path) == (True, "/Outbox/sheet")


async def test_a_batch_that_goes_on_is_not_due(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(2))
    await end(store, (await claim(store))[0], JobState.COMPLETED)
    await deliver(store, accepted.batch_id)
    assert await store.batches.undelivered(limit=9) == []


async def test_jobs_of_a_batch_are_told_with_their_files_in_their_order(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(3))
    held = await claim(store)
    for one, state in zip(reversed(held), [JobState.COMPLETED, JobState.FAILED, JobState.COMPLETED], strict=True):
        await end(store, one, state)
    jobs = await store.batches.jobs((await store.batches.batch(accepted.batch_id)).row)
    assert [one.job_id for one in jobs] == list(accepted.job_ids)
    assert [one.state for one in jobs] == [JobState.COMPLETED, JobState.FAILED, JobState.COMPLETED]
    assert [[file.name for file in one.outputs] for one in jobs] == [
        [f"{jobs[0].job_id}.png"],
        [],
        [f"{jobs[2].job_id}.png"],
    ]
    assert jobs[1].failure is not None


async def test_cancelling_ends_what_waits_and_flags_what_runs(store: JobStore, told: list[JobChanged]) -> None:
    accepted = await store.batches.accept(new_batch(1200))
    held = await claim(store, 2)
    await end(store, held[0], JobState.COMPLETED)
    row = (await store.batches.batch(accepted.batch_id)).row
    assert await store.batches.cancel(row, later(3)) == 1199
    stored = await store.batches.batch(accepted.batch_id)
    assert stored.counts == {JobState.COMPLETED: 1, JobState.RUNNING: 1, JobState.CANCELLED: 1198}
    assert [event.job_id for event in told if event.cancel] == [held[1].job_id]
    assert await store.counts() == (0, 1)
    assert await store.batches.cancel(row, later(4)) == 0


async def test_a_retry_makes_new_jobs_that_count_in_place_of_the_failed_ones(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(3))
    await end_all(store, [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
    await deliver(store, accepted.batch_id)
    again = await store.batches.retry(accepted.batch_id, later(9))
    assert (again.batch_id, again.count) == (accepted.batch_id, 2)
    stored = await store.batches.batch(accepted.batch_id)
    assert stored.counts == {JobState.COMPLETED: 1, JobState.QUEUED: 2}
    assert (stored.total, stored.spec.retries, stored.delivered) == (3, 1, False)
    fresh = [await store.job(job_id) for job_id in again.job_ids]
    assert [one.job.rerun_of for one in fresh] == list(accepted.job_ids[1:])
    assert [one.job.batch_index for one in fresh] == [1, 2]
    assert [one.job.parameters for one in fresh] == [{"seed": 1}, {"seed": 2}]
    old = await store.job(accepted.job_ids[1])
    assert (old.job.batch_id, old.job.batch_index, old.job.state) == (accepted.batch_id, 1, JobState.FAILED)
    await end_all(store, [JobState.COMPLETED, JobState.COMPLETED])
    await deliver(store, accepted.batch_id)
    assert await store.batches.undelivered(limit=9) == [accepted.batch_id]
    assert [one.job_id for one in await store.batches.jobs(stored.row)] == [accepted.job_ids[0], *again.job_ids]


async def test_a_retry_of_a_batch_in_which_nothing_failed_is_refused(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(1))
    with pytest.raises(NothingFailedError, match="has failed or was cancelled"):
        await store.batches.retry(accepted.batch_id, later(1))
    await end_all(store, [JobState.FAILED])
    await store.batches.retry(accepted.batch_id, later(1))
    with pytest.raises(NothingFailedError):
        await store.batches.retry(accepted.batch_id, later(1))


async def test_a_retry_may_run_where_it_failed_before(store: JobStore) -> None:
    lane = LaneSpec(source="s", avoid=frozenset(f"b{n}" for n in range(10)))
    accepted = await store.batches.accept(new_batch(jobs=jobs_with_seeds(1, lane=lane)))
    await store.batches.cancel((await store.batches.batch(accepted.batch_id)).row, later(1))
    assert await claim(store) == []
    again = await store.batches.retry(accepted.batch_id, later(2))
    assert [held.job_id for held in await claim(store)] == list(again.job_ids)


async def test_a_retry_that_does_not_fit_into_the_queue_changes_nothing(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(2))
    await end_all(store, [JobState.FAILED, JobState.FAILED])
    await store.accept(new_job())
    with pytest.raises(QueueFullError):
        await store.batches.retry(accepted.batch_id, later(3), limits=QueueLimits(total=2))
    assert (await store.batches.batch(accepted.batch_id)).counts == {JobState.FAILED: 2}


async def test_a_delivery_that_a_retry_overtook_is_not_put_on_record(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(1))
    await end_all(store, [JobState.FAILED])
    await deliver(store, accepted.batch_id)
    await store.batches.retry(accepted.batch_id, later(3))
    await store.batches.record_delivery(accepted.batch_id, "/Outbox/sheet")
    assert not (await store.batches.batch(accepted.batch_id)).delivered


async def test_jobs_of_a_batch_are_kept_until_the_batch_is_delivered_and_go_with_it(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(2))
    await end_all(store, [JobState.COMPLETED, JobState.COMPLETED])
    await deliver(store, accepted.batch_id)
    assert (await store.forget(later(99), count=50)).count == 0
    await store.batches.record_delivery(accepted.batch_id, None)
    assert (await store.forget(later(99), count=1)).count == 1
    assert (await store.batches.batch(accepted.batch_id)).total == 1
    assert (await store.forget(later(99), count=50)).count == 1
    with pytest.raises(NotFoundError):
        await store.batches.batch(accepted.batch_id)


async def test_a_batch_is_there_after_a_restart(path: Path) -> None:
    async with opened(path) as store:
        accepted = await store.batches.accept(new_batch(3))
        await end(store, (await claim(store, 1))[0], JobState.COMPLETED)
    async with opened(path) as store:
        stored = await store.batches.batch(accepted.batch_id)
        assert stored.counts == {JobState.COMPLETED: 1, JobState.QUEUED: 2}
        assert [held.job_id for held in await claim(store)] == list(accepted.job_ids[1:])
