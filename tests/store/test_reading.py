"""Pages, counts and what is due."""

from __future__ import annotations

from orchestrator_mcp.domain.jobs import JobState, Outcome
from orchestrator_mcp.store import JobFilter, JobStore
from tests.store.building import candidate, free, later, new_job


async def rows(store: JobStore, wanted: JobFilter, *, before: int | None = None, limit: int = 100) -> list[str]:
    return [stored.job.job_id for stored in await store.jobs(wanted, before=before, limit=limit)]


async def test_pages_show_every_job_once_newest_first_while_new_ones_come(store: JobStore) -> None:
    ids = [(await store.accept(new_job(at=later(number)))).job_id for number in range(7)]
    seen: list[str] = []
    before = None
    while page := await store.jobs(JobFilter(), before=before, limit=3):
        seen.extend(stored.job.job_id for stored in page)
        before = page[-1].row
        await store.accept(new_job(at=later(100)))
    assert seen == ids[::-1]


async def test_a_list_shows_what_it_was_asked_for(store: JobStore) -> None:
    card = (await store.accept(new_job(source="a"))).job_id
    other = (await store.accept(new_job(workflow_id="other", source="b"))).job_id
    [held] = await store.claim(free(candidate("beast")), later(1))
    assert held.job_id == card
    assert await rows(store, JobFilter(workflow_id="other")) == [other]
    assert await rows(store, JobFilter(source="a")) == [card]
    assert await rows(store, JobFilter(backend_id="beast")) == [card]
    assert await rows(store, JobFilter(states=(JobState.QUEUED,))) == [other]
    assert await rows(store, JobFilter(states=(JobState.QUEUED, JobState.RUNNING))) == [other, card]
    assert await rows(store, JobFilter(states=(JobState.QUEUED,), source="a")) == []
    assert await rows(store, JobFilter(source="' OR 1=1 --")) == []


async def test_counts_follow_the_jobs(store: JobStore) -> None:
    for _ in range(3):
        await store.accept(new_job())
    [held] = await store.claim(free(candidate()), later(1))
    assert await store.counts() == (2, 1)
    await store.requeue(held, Outcome.REFUSED, later(2), reason="away", not_before=later(60))
    assert await store.counts() == (2, 0)


async def test_deliveries_are_due_oldest_first_and_can_be_paged(store: JobStore) -> None:
    ids = [(await store.accept(new_job(at=later(number)))).job_id for number in range(3)]
    for job_id in reversed(ids):
        await store.request_cancel(job_id, later(9))
    assert await store.undelivered(limit=2) == ids[:2]
    await store.record_delivery(ids[0], None)
    assert await store.undelivered(limit=9) == ids[1:]
    after = (await store.job(ids[1])).row
    assert await store.undelivered(limit=9, after=after) == ids[2:]


async def test_the_check_of_a_sound_database_finds_nothing(store: JobStore) -> None:
    assert await store.check() is None
