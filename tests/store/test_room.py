"""How many jobs of one source may wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.domain.jobs import JobState, Outcome
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import QueueLimits
from orchestrator_mcp.errors import ShareFullError, TooLargeError
from orchestrator_mcp.store import JobSpec, JobStore, NewJob
from tests.batches.building import jobs_with_seeds, new_batch
from tests.store.building import candidate, free, later, look, new_job

TWO = QueueLimits(by_source={"*": 2})


def of(source: str, model: str = "", **fields: Any) -> NewJob:
    return new_job(lane=LaneSpec(source=source, model_key=model), **fields)


async def test_a_source_may_have_so_many_jobs_waiting_whatever_they_need_and_others_do_not_count(
    store: JobStore,
) -> None:
    await store.accept(of("alice", "sd"), limits=TWO)
    await store.accept(of("alice", "flux"), limits=TWO)
    with pytest.raises(ShareFullError) as refused:
        await store.accept(of("alice", "wan"), limits=TWO)
    assert str(refused.value) == (
        "The queue has no room for one more job of the source 'alice': 2 of them wait, and scheduling.max_queued is 2. "
        "Wait until some of them have finished. The operator of the farm can allow more."
    )
    await store.accept(of("bob", "sd"), limits=TWO)
    await store.claim(free(candidate()), later(1))
    await store.accept(of("alice", "wan"), limits=TWO)


async def test_whoever_is_named_has_a_limit_of_their_own_and_without_a_star_others_have_none(store: JobStore) -> None:
    limits = QueueLimits(by_source={"nightly": 1}, word="project")
    for _ in range(3):
        await store.accept(of("film"), limits=limits)
    await store.accept(of("nightly"), limits=limits)
    with pytest.raises(ShareFullError, match=r"of the project 'nightly': 1 of them waits"):
        await store.accept(of("nightly"), limits=limits)


async def test_jobs_that_name_no_source_are_counted_together(store: JobStore) -> None:
    await store.accept(new_job(), limits=QueueLimits(by_source={"*": 1}))
    with pytest.raises(ShareFullError, match="of those without a source"):
        await store.accept(new_job(), limits=QueueLimits(by_source={"*": 1}))


async def test_jobs_that_wait_for_others_and_retries_in_a_pause_count_too(store: JobStore) -> None:
    parent = await store.accept(of("alice"))
    [held] = await store.claim(free(candidate()), later(1))
    await store.accept(of("alice", spec=JobSpec(parameters={}, parents=[parent.job_id])), limits=TWO)
    await store.requeue(held, Outcome.LOST, later(2), reason="lost", not_before=later(9))
    with pytest.raises(ShareFullError):
        await store.accept(of("alice"), limits=TWO)
    await store.request_cancel(parent.job_id, later(3))
    await store.accept(of("alice"), limits=TWO)
    await store.accept(of("alice"), limits=TWO)


async def test_a_batch_counts_with_all_its_jobs_and_is_taken_whole_or_not_at_all(store: JobStore) -> None:
    batch = new_batch(jobs=jobs_with_seeds(2, lane=LaneSpec(source="alice")))
    await store.accept(of("alice"))
    with pytest.raises(ShareFullError, match="no room for 2 more jobs of the source 'alice': 1 of them waits"):
        await store.batches.accept(batch, limits=TWO)
    assert (await store.counts()) == (1, 0)
    assert (await store.batches.accept(batch, limits=QueueLimits(by_source={"alice": 3}))).count == 2


@pytest.mark.parametrize("limits", [TWO, QueueLimits(total=2)])
async def test_a_batch_that_would_never_find_room_is_not_told_to_wait(store: JobStore, limits: QueueLimits) -> None:
    batch = new_batch(jobs=jobs_with_seeds(3, lane=LaneSpec(source="alice")))
    with pytest.raises(TooLargeError, match="never has room for 3 jobs") as refused:
        await store.batches.accept(batch, limits=limits)
    assert "ait" not in str(refused.value)


async def test_a_retry_of_a_batch_counts_with_all_its_jobs(store: JobStore) -> None:
    accepted = await store.batches.accept(new_batch(jobs=jobs_with_seeds(2, lane=LaneSpec(source="alice"))))
    for held in await store.claim(free(candidate("one"), candidate("two")), later(1)):
        await store.finish(held, JobState.FAILED, Outcome.ERRORED, later(2), reason="broken")
    await store.accept(of("alice"))
    with pytest.raises(ShareFullError):
        await store.batches.retry(accepted.batch_id, later(3), limits=TWO)
    await store.batches.retry(accepted.batch_id, later(3), limits=QueueLimits(by_source={"*": 3}))


async def test_what_came_before_under_the_same_key_is_told_again_however_full_it_is(store: JobStore) -> None:
    first = await store.accept(of("alice", idempotency_key="k", body_hash="b"), limits=TWO)
    await store.accept(of("alice"), limits=TWO)
    again = await store.accept(of("alice", idempotency_key="k", body_hash="b"), limits=TWO)
    assert again.job_id == first.job_id


async def test_the_count_is_found_by_an_index_over_lanes_and_looks_at_no_job(store: JobStore, path: Path) -> None:
    statement = store._database.statements["waiting_of"]
    bound = statement.bind({"b_source": "alice", "b_bucket": "~1"})
    plan = " ".join(str(row[3]) for row in look(path, f"EXPLAIN QUERY PLAN {statement.sql}", *bound))
    assert "ix_lane_source" in plan and "job" not in plan
