"""Accepted is durable, and the same wish is one job."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.domain.lanes import SOURCE_BUCKETS, LaneSpec
from orchestrator_mcp.domain.limits import QueueLimits
from orchestrator_mcp.errors import IdempotencyConflict, ManifestError, OrchestratorError, StorageError
from orchestrator_mcp.store import JobSpec, JobStore
from tests.store.building import candidate, free, later, look, new_job


async def test_an_accepted_job_is_on_the_disk_when_the_call_returns(store: JobStore, path: Path) -> None:
    new = new_job()
    await store.accept(new)
    assert look(path, "SELECT uid, state FROM job") == [(new.job_id, 0)]
    assert look(path, "SELECT state, reason FROM history") == [(0, "accepted")]


async def test_what_was_handed_in_comes_back_as_it_was(store: JobStore) -> None:
    spec = JobSpec(
        parameters={"seed": -1, "prompt": "a cat – “quoted”"},
        targets={"seed": ["3.seed"]},
        values={"seed": 77},
        seeds={"3.seed": 2**64 - 1},
        metadata={"shot": None, "deep": [{"er": 1.5}]},
        warnings=["kept as a label"],
    )
    lane = LaneSpec(capabilities=frozenset({"sdxl", "flux"}), pin="one", source="storyboard")
    answer = await store.accept(new_job(at=later(0.1234), spec=spec, lane=lane, priority=-7))
    assert answer.warnings == ("kept as a label",)
    stored = await store.job(answer.job_id)
    assert stored.spec == spec
    assert stored.lane == lane
    job = stored.job
    assert (job.priority, job.backend_affinity, job.required_capabilities) == (-7, "one", ("flux", "sdxl"))
    assert job.submitted_at == answer.submitted_at == later(0.123)


async def test_the_event_of_an_acceptance_is_told_when_the_job_can_be_read(
    store: JobStore, told: list[JobChanged]
) -> None:
    answer = await store.accept(new_job())
    [event] = told
    assert (event.job_id, event.state) == (answer.job_id, JobState.QUEUED)
    assert event.seq == (await store.job(answer.job_id)).seq


async def test_jobs_that_come_together_are_one_transaction_and_a_refused_one_takes_none_with_it(
    store: JobStore, path: Path, told: list[JobChanged]
) -> None:
    wanted = [new_job(idempotency_key="k", body_hash=body) for body in ("b", "another")] + [new_job()]
    first, refused, last = await store.accept_each(wanted, limits=QueueLimits(total=5))
    assert isinstance(refused, IdempotencyConflict)
    stored = [one.job_id for one in (first, last) if not isinstance(one, Exception)]
    assert stored == [wanted[0].job_id, wanted[2].job_id]
    assert look(path, "SELECT uid FROM job ORDER BY id") == [(job_id,) for job_id in stored]
    assert [event.job_id for event in told] == stored


async def test_a_graph_is_stored_once_however_many_jobs_have_it(store: JobStore, path: Path) -> None:
    first = await store.accept(new_job())
    await store.accept(new_job())
    await store.accept(new_job(graph={"9": {"class_type": "Other", "inputs": {}}}, graph_hash="another"))
    assert look(path, "SELECT count(*) FROM document") == [(2,)]
    assert '"EmptyImage"' in await store.document((await store.job(first.job_id)).row)


async def test_a_graph_whose_jobs_have_all_gone_is_stored_again_with_the_next_one(store: JobStore, path: Path) -> None:
    gone = await store.accept(new_job())
    await store.request_cancel(gone.job_id, later(1))
    await store.record_delivery(gone.job_id, None)
    assert (await store.forget(later(100), count=9)).count == 1
    assert look(path, "SELECT count(*) FROM document") == [(0,)]
    await store.accept(new_job())
    assert look(path, "SELECT count(*) FROM job JOIN document ON document.id = document_id") == [(1,)]


async def test_the_same_key_and_body_give_the_same_job_with_the_same_answer(
    store: JobStore, told: list[JobChanged]
) -> None:
    spec = JobSpec(parameters={}, warnings=["told the first time"])
    first = await store.accept(new_job(idempotency_key="k", body_hash="b", spec=spec))
    again = await store.accept(new_job(at=later(60), idempotency_key="k", body_hash="b"))
    assert again == dataclasses.replace(first, replayed=True)
    assert len(told) == 1
    assert (await store.counts()) == (1, 0)


async def test_the_same_key_with_another_body_is_a_conflict_that_names_the_job(store: JobStore) -> None:
    first = await store.accept(new_job(idempotency_key="k", body_hash="b"))
    with pytest.raises(IdempotencyConflict) as conflict:
        await store.accept(new_job(idempotency_key="k", body_hash="another"))
    assert conflict.value.details == {"job_id": first.job_id}
    assert (await store.counts()) == (1, 0)


async def test_a_key_belongs_to_its_owner_alone(store: JobStore) -> None:
    mine = await store.accept(new_job(owner="me", idempotency_key="k", body_hash="b"))
    yours = await store.accept(new_job(owner="you", idempotency_key="k", body_hash="another"))
    assert mine.job_id != yours.job_id


async def test_the_same_take_of_an_inbox_file_is_one_job_also_in_one_transaction(store: JobStore) -> None:
    taken = InboxClaim(claim_id="c1", file_name="shot.json")
    ids: list[str] = []

    async def accept() -> None:
        ids.append((await store.accept(new_job(claim=taken))).job_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(accept)
    assert len(set(ids)) == 1
    assert await store.claimed_job("c1") == ids[0]
    assert await store.claimed_job("c2") is None
    assert (await store.job(ids[0])).claim == taken


async def test_an_inbox_file_with_a_known_key_shares_the_end_of_the_job_that_has_it(store: JobStore) -> None:
    first = await store.accept(new_job(idempotency_key="k", body_hash="b"))
    taken = InboxClaim(claim_id="c1", file_name="shot.json")
    again = await store.accept(new_job(idempotency_key="k", body_hash="b", claim=taken))
    assert (again.job_id, again.replayed) == (first.job_id, True)
    assert (await store.job(first.job_id)).claim == taken
    assert await store.claimed_job("c1") == first.job_id

    other = InboxClaim(claim_id="c2", file_name="other.json")
    with pytest.raises(ManifestError, match=first.job_id) as refused:
        await store.accept(new_job(idempotency_key="k", body_hash="b", claim=other))
    assert [(problem.code, problem.path) for problem in refused.value.problems] == [("duplicate", ())]


async def test_an_inbox_file_cannot_share_the_end_of_a_job_that_has_ended(store: JobStore) -> None:
    first = await store.accept(new_job(idempotency_key="k", body_hash="b"))
    await store.request_cancel(first.job_id, later(1))
    taken = InboxClaim(claim_id="c1", file_name="shot.json")
    with pytest.raises(ManifestError, match="no other is made"):
        await store.accept(new_job(idempotency_key="k", body_hash="b", claim=taken))
    assert await store.claimed_job("c1") is None


async def test_a_full_queue_takes_nothing_until_a_job_leaves_it(store: JobStore) -> None:
    first = await store.accept(new_job(idempotency_key="k", body_hash="b"), limits=QueueLimits(total=2))
    await store.accept(new_job(), limits=QueueLimits(total=2))
    with pytest.raises(OrchestratorError, match=r"limits\.queued_jobs is 2"):
        await store.accept(new_job(), limits=QueueLimits(total=2))
    again = await store.accept(new_job(idempotency_key="k", body_hash="b"), limits=QueueLimits(total=2))
    assert again.job_id == first.job_id
    await store.claim(free(candidate()), later(1))
    await store.accept(new_job(), limits=QueueLimits(total=2))


async def test_the_queue_is_not_overfilled_by_a_crowd(store: JobStore) -> None:
    refused: list[OrchestratorError] = []

    async def accept() -> None:
        try:
            await store.accept(new_job(), limits=QueueLimits(total=3))
        except OrchestratorError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(accept)
    assert (await store.counts()) == (3, 0)
    assert len(refused) == 7


async def test_a_full_disk_is_told_with_what_to_do_and_the_store_goes_on_when_there_is_room_again(
    store: JobStore, path: Path
) -> None:
    await store.accept(new_job())
    writer: sqlite3.Connection = store._database.writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    large = {"1": {"class_type": "Note", "inputs": {"text": "x" * 100_000}}}
    with pytest.raises(StorageError, match="Free space on its disk") as refused:
        await store.accept(new_job(graph=large, graph_hash="large"))
    assert refused.value.retry_after == 30.0
    assert look(path, "SELECT count(*) FROM job") == [(1,)]

    writer.execute("PRAGMA max_page_count = 1000000").fetchall()
    await store.accept(new_job(graph=large, graph_hash="large"))
    assert look(path, "SELECT (SELECT count(*) FROM job), (SELECT sum(queued) FROM lane)") == [(2, 2)]


async def test_a_store_that_stops_takes_nothing_more(path: Path) -> None:
    store = JobStore(path, tell=lambda _: None)
    await store.open()
    store.close()
    with anyio.fail_after(10):
        await store.run()
        with pytest.raises(StorageError, match="stopping"):
            await store.accept(new_job())


async def test_beyond_thousands_of_lanes_new_sources_share_buckets(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator_mcp.store.lanes.MOST_LANES", 10)
    for number in range(200):
        await store.accept(new_job(lane=LaneSpec(source=f"caller {number}")))
    lanes = await store._read(lambda tx: tx.all("lanes_with_work"))
    assert len(lanes) <= 10 + SOURCE_BUCKETS
    assert sum(lane["queued"] for lane in lanes) == 200
