"""A job waits for its parents, gets their files by hash, and fails with them: each in the parent's own transaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator_mcp.domain.chains import Handover, JobInput
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobFailure, JobState, Outcome
from orchestrator_mcp.domain.limits import QueueLimits
from orchestrator_mcp.errors import ManifestError, QueueFullError
from orchestrator_mcp.store import Acceptance, Forgotten, JobSpec, JobStore, OpenAttempt
from tests.store.building import artifact, candidate, free, later, look, new_job, opened

PICTURE = artifact("card.png", sha256="aa" * 32)
FILM = artifact("film.mp4", kind="video", media_type="video/mp4", sha256="bb" * 32)


def wants(job_id: str, name: str | None = None, kind: str = "image", target: str = "7.image") -> Handover:
    return Handover(parameter="start", targets=[target], job_id=job_id, name=name, kind=kind)


async def child_of(store: JobStore, *parents: str, handovers: list[Handover] | None = None) -> Acceptance:
    spec = JobSpec(parameters={}, parents=list(parents), handovers=handovers or [])
    return await store.accept(new_job(spec=spec))


async def started(store: JobStore) -> OpenAttempt:
    """Accept a job and begin it."""
    await store.accept(new_job())
    [held] = await store.claim(free(candidate()), later(1))
    return held


async def complete(store: JobStore, held: OpenAttempt, *files: object) -> None:
    outputs = [file for file in files if file is not None]
    await store.finish(
        held,
        JobState.COMPLETED,
        Outcome.SUCCEEDED,
        later(5),
        reason="rendered",
        artifacts=outputs,  # type: ignore[arg-type]
    )


async def fail(store: JobStore, held: OpenAttempt) -> None:
    failure = JobFailure(code="node_error", message="node 3 raised")
    await store.finish(held, JobState.FAILED, Outcome.ERRORED, later(5), reason="node 3 raised", failure=failure)


def backlog(path: Path) -> int:
    return int(look(path, "SELECT sum(queued) FROM lane")[0][0])


async def test_a_child_is_not_offered_to_a_backend_before_its_parent_is_done(store: JobStore, path: Path) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id)
    assert (await store.job(child.job_id)).job.state is JobState.WAITING
    assert (await store.job(child.job_id)).waits_for == ((held.job_id, JobState.RUNNING),)
    assert backlog(path) == 0
    assert await store.claim(free(candidate("two")), later(2)) == []
    assert await store.promote_due(later(10_000)) == 0
    await complete(store, held)
    assert backlog(path) == 1
    [taken] = await store.claim(free(candidate("two")), later(6))
    assert taken.job_id == child.job_id
    assert (await store.job(child.job_id)).waits_for == ()


async def test_the_end_of_the_parent_and_the_release_of_the_child_are_one_transaction(
    store: JobStore, path: Path, told: list[JobChanged]
) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id, handovers=[wants(held.job_id)])
    told.clear()
    await complete(store, held, PICTURE)
    assert [(event.job_id, event.state) for event in told] == [
        (held.job_id, JobState.COMPLETED),
        (child.job_id, JobState.QUEUED),
    ]
    assert look(path, "SELECT count(*) FROM dependency") == [(0,)]
    assert look(path, "SELECT pending, state FROM job WHERE uid = ?", child.job_id) == [(0, 0)]


async def test_the_output_is_handed_over_by_its_hash(store: JobStore) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id, handovers=[wants(held.job_id, "film.mp4", "video", "9.file")])
    await complete(store, held, PICTURE, FILM)
    spec = (await store.job(child.job_id)).spec
    assert spec.inputs == [JobInput(target="9.file", sha256=FILM.sha256, extension="mp4")]
    assert (spec.handovers, spec.parents) == ([], [held.job_id])


@pytest.mark.parametrize(("kind", "sha256"), [("image", PICTURE.sha256), ("video", FILM.sha256), ("", FILM.sha256)])
async def test_without_a_name_the_first_output_of_the_kind_is_taken(store: JobStore, kind: str, sha256: str) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id, handovers=[wants(held.job_id, kind=kind)])
    await complete(store, held, FILM, PICTURE)
    assert [one.sha256 for one in (await store.job(child.job_id)).spec.inputs] == [sha256]


async def test_a_child_of_several_goes_on_when_the_last_of_them_is_done(store: JobStore) -> None:
    first, second = await started(store), await started(store)
    child = await child_of(
        store,
        first.job_id,
        second.job_id,
        handovers=[wants(first.job_id, target="1.image"), wants(second.job_id, target="2.image")],
    )
    await complete(store, second, FILM)
    waiting = await store.job(child.job_id)
    assert (waiting.job.state, waiting.waits_for) == (JobState.WAITING, ((first.job_id, JobState.RUNNING),))
    await complete(store, first, PICTURE)
    ready = await store.job(child.job_id)
    assert ready.job.state is JobState.QUEUED
    assert {one.target: one.sha256 for one in ready.spec.inputs} == {"1.image": PICTURE.sha256, "2.image": FILM.sha256}


async def test_a_parent_that_is_done_already_hands_over_at_once(store: JobStore) -> None:
    held = await started(store)
    await complete(store, held, PICTURE)
    child = await child_of(store, held.job_id, handovers=[wants(held.job_id)])
    stored = await store.job(child.job_id)
    assert (stored.job.state, stored.spec.inputs[0].sha256) == (JobState.QUEUED, PICTURE.sha256)


async def test_a_failed_parent_fails_its_children_and_theirs(
    store: JobStore, path: Path, told: list[JobChanged]
) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id)
    grandchild = await child_of(store, child.job_id)
    told.clear()
    await fail(store, held)
    first = (await store.job(child.job_id)).job
    assert first.state is JobState.FAILED
    assert first.failure is not None
    assert first.failure.code == "parent_failed"
    assert held.job_id in first.failure.message
    assert "node 3 raised" in first.failure.message
    second = (await store.job(grandchild.job_id)).job
    assert second.failure is not None
    assert second.failure.code == "parent_failed"
    assert second.failure.details == {"job_id": child.job_id, "first": held.job_id, "reason": "node 3 raised"}
    assert [event.job_id for event in told] == [held.job_id, child.job_id, grandchild.job_id]
    assert set(await store.undelivered(limit=9)) == {held.job_id, child.job_id, grandchild.job_id}
    assert look(path, "SELECT count(*) FROM dependency") == [(0,)]


async def test_a_very_long_chain_ends_with_its_first_job(store: JobStore, path: Path) -> None:
    held = await started(store)
    last = held.job_id
    for _ in range(300):
        last = (await child_of(store, last)).job_id
    await fail(store, held)
    assert look(path, "SELECT DISTINCT state FROM job") == [(4,)]


async def test_cancelling_a_parent_that_has_not_started_ends_its_children(store: JobStore) -> None:
    parent = await store.accept(new_job())
    child = await child_of(store, parent.job_id)
    await store.request_cancel(parent.job_id, later(1))
    failure = (await store.job(child.job_id)).job.failure
    assert failure is not None
    assert (failure.code, failure.details["job_id"]) == ("parent_cancelled", parent.job_id)


async def test_a_running_parent_that_is_cancelled_ends_its_children(store: JobStore) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id)
    await store.request_cancel(held.job_id, later(1))
    await store.requeue(held, Outcome.LOST, later(2), reason="lost")
    failure = (await store.job(child.job_id)).job.failure
    assert failure is not None
    assert failure.code == "parent_cancelled"


async def test_a_parent_that_is_tried_again_keeps_its_children_waiting(store: JobStore) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id)
    await store.requeue(held, Outcome.LOST, later(2), reason="lost", not_before=later(9))
    assert (await store.job(child.job_id)).waits_for == ((held.job_id, JobState.WAITING),)


async def test_a_child_that_is_cancelled_waits_for_nobody(store: JobStore, path: Path) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id)
    await store.request_cancel(child.job_id, later(1))
    assert (await store.job(child.job_id)).job.state is JobState.CANCELLED
    await complete(store, held)
    assert (await store.job(child.job_id)).job.state is JobState.CANCELLED
    assert backlog(path) == 0


async def test_a_parent_without_the_output_fails_the_child_and_says_what_there_is(store: JobStore) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id, handovers=[wants(held.job_id, "other.png")])
    await complete(store, held, PICTURE)
    failure = (await store.job(child.job_id)).job.failure
    assert failure is not None
    assert failure.code == "output_missing"
    assert failure.details["outputs"] == ["card.png"]
    assert "card.png" in failure.message


async def test_what_a_parent_cannot_give_is_refused_at_once(store: JobStore, path: Path) -> None:
    failed, cancelled = await started(store), await store.accept(new_job())
    await store.request_cancel(cancelled.job_id, later(1))
    await fail(store, failed)
    done = await started(store)
    await complete(store, done, PICTURE)
    before = look(path, "SELECT count(*) FROM job")
    nobody = "01890000-0000-7000-8000-000000000000"
    parents = (failed.job_id, cancelled.job_id, done.job_id, nobody)
    with pytest.raises(ManifestError) as refused:
        await child_of(store, *parents, handovers=[wants(done.job_id, "other.png")])
    found = {problem.code: problem.path for problem in refused.value.problems}
    assert found == {
        "parent_failed": ("depends_on",),
        "parent_cancelled": ("depends_on",),
        "output_missing": ("parameters", "start"),
        "unknown_job": ("depends_on",),
    }
    assert look(path, "SELECT count(*) FROM job") == before


async def test_jobs_that_wait_for_others_count_against_the_limit(store: JobStore) -> None:
    held = await started(store)
    await child_of(store, held.job_id)
    with pytest.raises(QueueFullError):
        await store.accept(new_job(), limits=QueueLimits(total=1))


async def test_a_file_that_was_handed_over_outlives_the_job_that_made_it(store: JobStore) -> None:
    held = await started(store)
    child = await child_of(store, held.job_id, handovers=[wants(held.job_id)])
    await complete(store, held, PICTURE, FILM)
    await store.record_delivery(held.job_id, None)
    assert await store.forget(later(100), count=9) == Forgotten(count=1, files={FILM.sha256: FILM.size})
    assert await store.unused([PICTURE.sha256]) == []
    [taken] = await store.claim(free(candidate()), later(6))
    await complete(store, taken)
    await store.record_delivery(child.job_id, None)
    assert await store.forget(later(100), count=9) == Forgotten(count=1, files={PICTURE.sha256: 0})


async def test_nothing_of_a_chain_is_lost_by_a_restart(path: Path) -> None:
    async with opened(path) as before:
        held = await started(before)
        child = await child_of(before, held.job_id, handovers=[wants(held.job_id)])
    async with opened(path) as after:
        assert (await after.job(child.job_id)).waits_for == ((held.job_id, JobState.RUNNING),)
        epochs = await after.take_leases("next", ["one"])
        [adopted] = await after.adopt(epochs)
        await complete(after, adopted, PICTURE)
    async with opened(path) as last:
        [taken] = await last.claim(free(candidate()), later(9))
        assert (taken.job_id, taken.spec.inputs[0].sha256) == (child.job_id, PICTURE.sha256)
