"""Why jobs wait, in words: for a single job, or for a page of them at the cost of its lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Final, Protocol
from weakref import WeakKeyDictionary

import anyio.to_thread

from orchestrator_mcp.backends.foresight import MOST_LANES
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.eta import Wait
from orchestrator_mcp.domain.jobs import Job, JobState, attempt_name
from orchestrator_mcp.domain.lanes import LaneSpec, Requirements
from orchestrator_mcp.domain.placement import Candidate, Catalogue, Lane, refusal, waiting_reasons
from orchestrator_mcp.domain.preflight import Finding, PackOf, in_words, lacking
from orchestrator_mcp.domain.situation import with_facts
from orchestrator_mcp.events import Events
from orchestrator_mcp.service.packs import packs_known
from orchestrator_mcp.service.showing import Live, parent_reasons
from orchestrator_mcp.store import Place, StoredBatch, StoredJob

LACKS_ITS_FILE: Final = "its input folder lacks a file that the job begins with"
MOST_BACKENDS: Final = 50  # that are told of
MOST_REMEMBERED: Final = 1_024  # answers kept for each catalogue

Reasons = list[tuple[str | None, str]]


class LanesWithWork(Protocol):
    """Tells the lanes with queued jobs."""

    async def __call__(self, *, most: int) -> Sequence[Lane] | None: ...


class Waiting:
    """Says what is known of jobs beside the store: their progress, or why they wait.

    Args:
        lanes: tells the lanes with queued jobs, or None when they are more than so many.
        pool: the backends.
        running: attempts that have a slot of each backend now.
        events: knows how far renders are.
        clock: the time.
    """

    def __init__(
        self,
        *,
        lanes: LanesWithWork,
        pool: BackendPool,
        running: Callable[[], Mapping[str, int]],
        events: Events,
        clock: Clock,
    ) -> None:
        self._lanes = lanes
        self._pool = pool
        self._running = running
        self._events = events
        self._clock = clock
        self._lacking: WeakKeyDictionary[Catalogue, dict[Requirements, list[Finding]]] = WeakKeyDictionary()

    async def live(self, page: Sequence[StoredJob], positions: Mapping[int, int | None]) -> list[Live]:
        """What is known of each job of a page.

        Args:
            page: the jobs, in the order of the answer.
            positions: the place in the queue of each that is queued, by its row.
        """
        lanes = {one.lane for one in page if one.job.state is JobState.QUEUED}
        by_lane = await self._reasons(lanes) if lanes else {}
        if lanes:
            await self._look()
        now = self._clock.now()
        return [
            self._queued(one, positions.get(one.row), _with_failures(one, by_lane[one.lane]), now)
            if one.job.state is JobState.QUEUED
            else Live(
                at=now,
                progress=self._events.progress(one.job.job_id),
                seconds_left=self._seconds_left(one.job),
                reasons=self._held_back(one),
            )
            for one in page
        ]

    def _queued(self, stored: StoredJob, position: int | None, reasons: Reasons, now: datetime) -> Live:
        wait = self._wait(stored.place, stored.lane, position) if position is not None else None
        if wait is None or position is None:
            return Live(at=now, reasons=reasons)
        done = wait.at(position - 1)
        return Live(
            at=now,
            position=wait.place(position - 1),
            seconds_left=done.mean if done is not None else None,
            reasons=reasons,
        )

    def _seconds_left(self, job: Job) -> float | None:
        if job.state is not JobState.RUNNING or job.backend_id is None or not job.attempts:
            return None
        return self._left(attempt_name(job.job_id, job.attempts[-1].number), job.backend_id)

    def _left(self, attempt: str, backend_id: str) -> float | None:
        return self._pool.foresight.left(attempt, backend_id, shared=self._shared(backend_id))

    def _shared(self, backend_id: str) -> bool:
        """Whether somebody else uses a backend now."""
        return backend_id in self._pool and self._pool[backend_id].sharing.foreign > 0

    def _wait(self, at: Place, spec: LaneSpec, position: int) -> Wait | None:
        lane = Lane(
            id=at.lane_id,
            spec=spec,
            priority=-at.rank,
            since=0,
            count=position,
            signature=spec.signature,
            units=spec.units,
            deadline=at.due or None,
            last_deadline=at.due,
        )
        return self._pool.foresight.wait(lane)

    async def _look(self) -> None:
        foresight = self._pool.foresight
        if not foresight.looked():
            candidates = [self._counted_on(one) for one in self._pool.candidates(self._running())]
            foresight.look(await self._lanes(most=MOST_LANES), candidates)

    def _counted_on(self, candidate: Candidate) -> Candidate:
        """A backend as estimates see it: who can say when one will have done our jobs that others use too?"""
        if candidate.unavailable is not None or not self._shared(candidate.backend_id):
            return candidate
        return with_facts(candidate, unavailable="somebody else uses it")

    def _queued_seconds(self, at: Place, spec: LaneSpec, position: int) -> float | None:
        wait = self._wait(at, spec, position)
        done = wait.at(position - 1) if wait is not None else None
        return done.mean if done is not None else None

    async def batch_seconds_left(self, stored: StoredBatch) -> float | None:
        """Seconds until the last job of a batch is done; None while that is not known, and when all have ended.

        Args:
            stored: the batch, with the last of its queued jobs in each lane.
        """
        if stored.over or stored.counts.get(JobState.WAITING):
            return None
        if stored.ends:
            await self._look()
        queued = [
            None if one.position is None else self._queued_seconds(one.place, one.lane, one.position)
            for one in stored.ends
        ]
        left = [self._left(name, backend_id) for name, backend_id in stored.attempts]
        known = [seconds for seconds in (*queued, *left) if seconds is not None]
        return max(known) if known and len(known) == len(queued) + len(left) else None

    def _held_back(self, stored: StoredJob) -> Reasons:
        job = stored.job
        if job.state is not JobState.WAITING:
            return []
        if job.not_before is None:
            return list(parent_reasons(stored.waits_for))
        seconds = max(0.0, (job.not_before - self._clock.now()).total_seconds())
        return [(None, f"it is tried again in {seconds:.0f} s")]

    async def _reasons(self, lanes: Iterable[LaneSpec]) -> dict[LaneSpec, Reasons]:
        candidates = self._pool.candidates(self._running())
        shown = {lane: _shown(lane, candidates) for lane in lanes}
        new = {
            (lane.requirements, candidate.catalogue)
            for lane, some in shown.items()
            for candidate in some
            if candidate.catalogue is not None and not self._remembers(lane.requirements, candidate.catalogue)
        }
        if new:
            found = await anyio.to_thread.run_sync(
                lambda: [(needs, catalogue, lacking(needs, catalogue)) for needs, catalogue in new]
            )
            for needs, catalogue, findings in found:
                self._remember(needs, catalogue, findings)
        pack_of = cache(packs_known(self._pool))
        return {lane: self._told(lane, some, candidates, pack_of) for lane, some in shown.items()}

    def _told(
        self, lane: LaneSpec, shown: Sequence[Candidate], candidates: Sequence[Candidate], pack_of: PackOf
    ) -> Reasons:
        foresight = self._pool.foresight
        limits, left_idle = foresight.held_back(lane), foresight.left_idle(lane)
        present = [reason for _, reason in waiting_reasons(lane, shown, limits=limits, left_idle=left_idle)]
        reasons: Reasons = [
            (candidate.backend_id, self._lacks(lane, candidate, pack_of) or reason)
            for candidate, reason in zip(shown, present, strict=False)
        ]
        if not shown and lane.pin is not None and candidates:
            return [(None, f"the job is pinned to {lane.pin}, which is not in the configuration")]
        if not candidates:
            return list(waiting_reasons(lane, []))
        left_out = 0 if lane.pin is not None else len(candidates) - len(shown)
        return [*reasons, (None, f"{left_out} more backends are not told of")] if left_out else reasons

    def _lacks(self, lane: LaneSpec, candidate: Candidate, pack_of: PackOf) -> str | None:
        """What a backend lacks that may run the jobs otherwise; None when it has all, or has not said."""
        if candidate.catalogue is None or refusal(lane, replace(candidate, catalogue=None)) is not None:
            return None
        findings = self._lacking.get(candidate.catalogue, {}).get(lane.requirements)
        if not findings:
            return None
        words = in_words(findings, pack_of)
        return f"{words}; {candidate.unavailable}" if candidate.unavailable else words

    def _remembers(self, needs: Requirements, catalogue: Catalogue) -> bool:
        return needs in self._lacking.get(catalogue, {})

    def _remember(self, needs: Requirements, catalogue: Catalogue, findings: list[Finding]) -> None:
        answers = self._lacking.setdefault(catalogue, {})
        if len(answers) >= MOST_REMEMBERED:
            answers.pop(next(iter(answers)))
        answers[needs] = findings


def _shown(lane: LaneSpec, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The backends that are told of: only its own for a pinned job."""
    mine = [candidate for candidate in candidates if lane.pin in (None, candidate.backend_id)]
    return mine[:MOST_BACKENDS]


def _with_failures(stored: StoredJob, reasons: Reasons) -> Reasons:
    """The same, with what went wrong where the job was tried already, or would have gone wrong."""
    failed = {attempt.backend_id: attempt.reason for attempt in stored.job.attempts if attempt.reason}

    def told(backend_id: str | None, words: str) -> str:
        if backend_id is None or backend_id not in stored.lane.avoid:
            return words
        return f"{words}: {failed[backend_id].rstrip('.')}" if backend_id in failed else LACKS_ITS_FILE

    return [(backend_id, told(backend_id, words)) for backend_id, words in reasons]
