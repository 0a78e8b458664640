"""Jobs with a deadline leave the queue in the order of their deadlines."""

from __future__ import annotations

from typing import Any

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.jobs import JobState, Outcome
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Choice
from orchestrator_mcp.store import BatchSpec, JobStore, NewJob
from tests.batches.building import jobs_with_seeds, new_batch
from tests.store.building import candidate, free, later, new_job

DAY = 86_400


def due(seconds: float, priority: int = 0, **fields: Any) -> NewJob:
    lane = LaneSpec(dated=priority, **fields)
    return new_job(lane=lane, priority=priority, deadline=later(seconds))


async def claimed(store: JobStore, at: float) -> str:
    [held] = await store.claim(free(candidate()), later(at))
    await store.finish(held, JobState.COMPLETED, Outcome.SUCCEEDED, later(at), reason="done")
    return held.job_id


async def test_the_one_that_is_due_first_goes_first_whenever_it_came(store: JobStore) -> None:
    jobs = [due(seconds) for seconds in (3 * DAY, 2 * DAY, 4 * DAY, 2 * DAY)]
    for job in jobs:
        await store.accept(job)
    assert [await claimed(store, n) for n in range(4)] == [jobs[n].job_id for n in (1, 3, 0, 2)]


async def test_a_job_that_must_begin_now_goes_before_any_priority_and_earlier_it_does_not(store: JobStore) -> None:
    dated, urgent = due(DAY, -50), [new_job(priority=100) for _ in range(2)]
    for job in (dated, *urgent):
        await store.accept(job)
    assert await claimed(store, 1) == urgent[0].job_id
    assert await claimed(store, DAY - 100) == dated.job_id


async def test_placement_is_told_the_first_and_the_last_deadline_of_a_lane(store: JobStore) -> None:
    for seconds in (30, 10, 20):
        await store.accept(due(seconds))
    await store.accept(new_job())
    seen: list[tuple[int | None, int, int]] = []

    def look_at(lanes: Any, candidates: Any, now: int) -> list[Choice]:
        seen.extend((lane.deadline, lane.last_deadline, lane.count) for lane in lanes)
        return []

    await store.claim(free(candidate()), later(1), look_at)
    assert sorted(seen, key=str) == [
        (to_millis(later(10)), to_millis(later(30)), 3),
        (None, 0, 1),
    ]


async def test_a_deadline_is_kept_by_jobs_retries_and_batches(store: JobStore) -> None:
    job = due(DAY)
    await store.accept(job)
    assert (await store.job(job.job_id)).job.deadline == later(DAY)
    assert (await store.standing_job(job.job_id))[1] == 1

    jobs = jobs_with_seeds(1, lane=LaneSpec(source="b", dated=0))
    spec = BatchSpec(varies=["seed"], mode="product", due=to_millis(later(60)))
    accepted = await store.batches.accept(new_batch(jobs=jobs, spec=spec))
    assert (await store.batches.batch(accepted.batch_id)).deadline == later(60)
    [held] = await store.claim(free(candidate()), later(1))
    assert held.job_id == accepted.job_ids[0]
    await store.finish(held, JobState.FAILED, Outcome.ERRORED, later(2), reason="broken")
    again = await store.batches.retry(accepted.batch_id, later(3))
    assert (await store.job(again.job_ids[0])).job.deadline == later(60)


async def test_a_job_that_lost_its_backend_keeps_its_place_among_deadlines(store: JobStore) -> None:
    first, second = due(99), due(100)
    for job in (second, first):
        await store.accept(job)
    [held] = await store.claim(free(candidate("one")), later(1))
    await store.requeue(held, Outcome.LOST, later(2), reason="lost", avoid=True)
    [again] = await store.claim(free(candidate("two")), later(3))
    assert (held.job_id, again.job_id) == (first.job_id, first.job_id)


async def test_places_among_deadlines_are_told_in_their_order(store: JobStore) -> None:
    jobs = [due(seconds) for seconds in (30, 10, 20, 10, 30)]
    for job in jobs:
        await store.accept(job)
    assert [(await store.standing_job(job.job_id))[1] for job in jobs] == [4, 1, 3, 2, 5]


def test_lanes_of_jobs_with_deadlines_need_the_same_as_others() -> None:
    plain, dated = LaneSpec(model_key="sd"), LaneSpec(model_key="sd", dated=5)
    assert (plain.kind, plain.needs) == (dated.kind, dated.needs)
    assert plain.to_json() != dated.to_json()
    assert LaneSpec.from_json(dated.to_json()) == dated
