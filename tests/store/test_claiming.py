"""A claim takes the right jobs, and writes the intent before anybody sends anything."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel

from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobState, Outcome, Stage, prompt_id_for
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.store import JobSpec, JobStore
from tests.store.building import GRAPH, candidate, free, later, look, new_job


async def test_the_intent_to_dispatch_is_on_the_disk_before_anything_is_sent(
    store: JobStore, path: Path, told: list[JobChanged]
) -> None:
    spec = JobSpec(parameters={"steps": 3}, seeds={"3.seed": 5})
    job_id = (await store.accept(new_job(spec=spec))).job_id
    [held] = await store.claim(free(candidate("beast", epoch=4)), later(1))
    assert (held.job_id, held.number, held.epoch, held.backend_id) == (job_id, 1, 4, "beast")
    assert (held.spec, held.graph, held.charged, held.accepted) == (spec, GRAPH, 0, False)
    assert held.prompt_id == prompt_id_for(job_id, 1)
    assert look(path, "SELECT number, prompt_id, backend_id, epoch, accepted_at, ended_at FROM attempt") == [
        (1, held.prompt_id, "beast", 4, None, None)
    ]
    job = (await store.job(job_id)).job
    assert (job.state, job.stage, job.backend_id) == (JobState.RUNNING, Stage.DISPATCHING, "beast")
    assert (job.started_at, job.attempts[0].started_at) == (None, later(1))
    assert (told[-1].state, told[-1].stage) == (JobState.RUNNING, Stage.DISPATCHING)


async def test_priority_goes_before_age_and_age_before_nothing(store: JobStore) -> None:
    order = [("old", 0), ("urgent", 50), ("young", 0), ("patient", -50)]
    ids = {
        name: (await store.accept(new_job(at=later(number), priority=priority))).job_id
        for number, (name, priority) in enumerate(order)
    }
    claimed = []
    for number in range(4):
        [held] = await store.claim(free(candidate()), later(10 + number))
        claimed.append(held.job_id)
    assert claimed == [ids[name] for name in ("urgent", "old", "young", "patient")]


async def test_a_job_that_comes_back_keeps_its_place(store: JobStore) -> None:
    first = (await store.accept(new_job())).job_id
    await store.accept(new_job(at=later(1)))
    [held] = await store.claim(free(candidate()), later(2))
    await store.requeue(held, Outcome.REVOKED, later(3), reason="taken back")
    [again] = await store.claim(free(candidate()), later(4))
    assert (again.job_id, again.number) == (first, 2)


async def test_what_is_needed_for_sandbox_results_is_stored_with_the_claim(store: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    await store.claim(free(candidate(sandbox=True)), later(1))
    assert (await store.job(job_id)).job.sandbox is True


async def test_no_job_is_given_out_twice_however_many_ask(store: JobStore, path: Path) -> None:
    for _ in range(20):
        await store.accept(new_job())
    claimed: list[str] = []

    async def ask(number: int) -> None:
        held = await store.claim(free(candidate(f"backend-{number}")), later(1))
        claimed.extend(one.job_id for one in held)

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(ask, number)
    assert len(claimed) == len(set(claimed)) == 20
    assert look(path, "SELECT count(*), count(DISTINCT backend_id) FROM attempt") == [(20, 20)]
    assert await store.counts() == (0, 20)


async def test_a_job_accepted_in_the_same_moment_is_claimed_with_it(store: JobStore) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.accept, new_job())
        await anyio.lowlevel.checkpoint()
        assert len(await store.claim(free(candidate()), later(1))) == 1


async def test_jobs_that_nobody_free_can_run_stay_where_they_are(store: JobStore) -> None:
    pinned = (await store.accept(new_job(lane=LaneSpec(pin="other")))).job_id
    able = (await store.accept(new_job(lane=LaneSpec(capabilities=frozenset({"flux"}))))).job_id
    [held] = await store.claim(free(candidate(capabilities=frozenset({"flux", "sdxl"}))), later(1))
    assert held.job_id == able
    assert (await store.job(pinned)).job.state is JobState.QUEUED
    assert await store.claim(free(candidate(), candidate("busy", running=1)), later(2)) == []


async def test_two_jobs_in_one_claim_are_a_render_and_never_more_than_the_slots(store: JobStore) -> None:
    for _ in range(5):
        await store.accept(new_job())
    assert len(await store.claim(free(candidate(slots=2)), later(1))) == 1
    assert len(await store.claim(free(candidate(slots=2, running=1)), later(2))) == 1
    assert await store.claim(free(candidate(slots=2, running=2)), later(3)) == []


async def test_the_place_in_the_queue_counts_those_before_it_in_its_lane(store: JobStore) -> None:
    ids = [(await store.accept(new_job(at=later(number)))).job_id for number in range(3)]
    urgent = (await store.accept(new_job(at=later(9), priority=1))).job_id
    other = (await store.accept(new_job(lane=LaneSpec(source="another")))).job_id
    places = [(await store.standing_job(job_id))[1] for job_id in [urgent, *ids, other]]
    assert places == [1, 2, 3, 4, 1]


async def test_jobs_that_are_gone_while_a_decision_goes_on_are_given_to_nobody(store: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    lanes = await store.lanes(most=10)
    await store.request_cancel(job_id, later(1))
    assert await store.claim(free(candidate()), later(2), lanes=lanes) == []
    assert (await store.job(job_id)).job.state is JobState.CANCELLED
