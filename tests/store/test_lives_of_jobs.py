"""Random lives of many jobs, compared with a model after every step."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import FINAL_STATES, JobState, Outcome, Stage
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.transitions import may_follow
from orchestrator_mcp.errors import JobFinishedError, LeaseLostError, ManifestError
from orchestrator_mcp.store import JobSpec, JobStore, OpenAttempt
from orchestrator_mcp.store.schema import STATES
from orchestrator_mcp.store.sqlite import Database
from tests.store.building import candidate, free, later, new_job

BACKENDS = ("one", "two", "three")
WHICH = st.integers(0, 99)


@dataclass
class Expected:
    """What the model knows of a job."""

    state: JobState
    lane: LaneSpec
    priority: int
    order: int
    attempts: int = 0
    charged: int = 0
    due: int = 0
    flagged: bool = False
    parents: tuple[str, ...] = ()


@cache
def fresh_file() -> bytes:
    """A database as the migrations make it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fresh.db"
        database = Database(path)
        database.open()
        database.close()
        return path.read_bytes()


class LivesOfJobs(RuleBasedStateMachine):
    """Accept, claim, advance, end, retry, cancel, restart: in any order, with late writes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "orchestrator.db"
        self.path.write_bytes(fresh_file())
        self.expected: dict[str, Expected] = {}
        self.told: list[JobChanged] = []
        self.epochs: dict[str, int] = {}
        self.held: list[OpenAttempt] = []
        self.lost: list[OpenAttempt] = []
        self.now = 0
        self.stack = ExitStack()
        self.portal = self.stack.enter_context(anyio.from_thread.start_blocking_portal())
        self.store = JobStore(self.path, tell=self.told.append)
        self.portal.call(self.store.open)
        self.work = self.portal.start_task_soon(self.store.run)
        self.reader = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)

    def teardown(self) -> None:
        self.reader.close()
        self.portal.call(self.store.close)
        self.work.result(timeout=20)
        self.stack.close()
        shutil.rmtree(self.folder)

    def do(self, method: Callable[..., Any], *parameters: Any, **named: Any) -> Any:
        self.now += 1
        return self.portal.call(partial(method, *parameters, **named))

    @property
    def moment(self) -> Any:
        return later(self.now)

    @initialize()
    def start(self) -> None:
        self.epochs = self.do(self.store.take_leases, "first", BACKENDS)
        for priority in (0, 1, 0):
            self.accept(priority, "", None)

    @rule(priority=st.integers(-2, 2), source=st.sampled_from(["", "a"]), pin=st.sampled_from([None, "one"]))
    def accept(self, priority: int, source: str, pin: str | None) -> None:
        lane = LaneSpec(source=source, pin=pin)
        new = new_job(at=self.moment, priority=priority, lane=lane)
        job_id: str = self.do(self.store.accept, new).job_id
        self.expected[job_id] = Expected(JobState.QUEUED, lane, priority, len(self.expected))

    @rule(some=st.lists(WHICH, min_size=1, max_size=3))
    def accept_a_child(self, some: list[int]) -> None:
        known = list(self.expected)
        parents = tuple(dict.fromkeys(known[which % len(known)] for which in some))
        states = {self.expected[parent].state for parent in parents}
        new = new_job(at=self.moment, spec=JobSpec(parameters={}, parents=list(parents)))
        if states & {JobState.FAILED, JobState.CANCELLED}:
            with pytest.raises(ManifestError):
                self.do(self.store.accept, new)
            return
        self.do(self.store.accept, new)
        waits_for = tuple(parent for parent in parents if self.expected[parent].state is not JobState.COMPLETED)
        state = JobState.WAITING if waits_for else JobState.QUEUED
        self.expected[new.job_id] = Expected(state, new.lane, 0, len(self.expected), parents=waits_for)

    def _ended(self, job_id: str, state: JobState) -> None:
        """A job ends, and with it what waits for it."""
        self.expected[job_id].state = state
        for child_id, child in self.expected.items():
            if job_id not in child.parents or child.state is not JobState.WAITING:
                continue
            child.parents = tuple(parent for parent in child.parents if parent != job_id)
            if state is not JobState.COMPLETED:
                child.parents = ()
                self._ended(child_id, JobState.FAILED)
            elif not child.parents:
                child.state = JobState.QUEUED

    @rule(slots=st.integers(1, 2))
    def claim(self, slots: int) -> None:
        running = Counter(held.backend_id for held in self.held)
        backends = [candidate(name, epoch=self.epochs[name], slots=slots, running=running[name]) for name in BACKENDS]
        claimed: list[OpenAttempt] = self.do(self.store.claim, free(*backends), self.moment)
        for held in claimed:
            job = self.expected[held.job_id]
            before = [other for other in self.expected.values() if self._goes_before(other, job)]
            assert not before, "a job of the same lane that was older or more urgent was left behind"
            assert job.lane.pin in (None, held.backend_id)
            assert held.backend_id not in job.lane.avoid
            assert (held.number, held.charged) == (job.attempts + 1, job.charged)
            job.state, job.attempts = JobState.RUNNING, held.number
            running[held.backend_id] += 1
            assert running[held.backend_id] <= slots
        self.held += claimed

    def _goes_before(self, other: Expected, job: Expected) -> bool:
        same_lane = other.lane == job.lane and other.state is JobState.QUEUED
        return same_lane and (-other.priority, other.order) < (-job.priority, job.order)

    @precondition(lambda self: self.held)
    @rule(which=WHICH, stage=st.sampled_from(Stage))
    def advance(self, which: int, stage: Stage) -> None:
        held = self.held[which % len(self.held)]
        self.do(self.store.advance, held, stage, self.moment, accepted_as=held.prompt_id)

    @precondition(lambda self: self.held)
    @rule(which=WHICH, state=st.sampled_from(sorted(FINAL_STATES)))
    def finish(self, which: int, state: JobState) -> None:
        held = self._let_go(which)
        self.do(self.store.finish, held, state, Outcome.SUCCEEDED, self.moment, reason="ended")
        self._ended(held.job_id, state)

    @precondition(lambda self: self.held)
    @rule(which=WHICH, pause=st.sampled_from([0, 0, 5]), avoid=st.booleans(), charge=st.booleans())
    def requeue(self, which: int, pause: int, avoid: bool, charge: bool) -> None:
        held = self._let_go(which)
        due = self.now + pause
        choices = {"not_before": later(due) if pause else None, "avoid": avoid, "charge": charge}
        self.do(self.store.requeue, held, Outcome.LOST, self.moment, reason="lost", **choices)
        job = self.expected[held.job_id]
        if job.flagged:
            self._ended(held.job_id, JobState.CANCELLED)
            return
        job.state, job.due = (JobState.WAITING if pause else JobState.QUEUED), due
        job.charged += charge
        job.lane = job.lane.avoiding(held.backend_id) if avoid else job.lane

    def _let_go(self, which: int) -> OpenAttempt:
        held = self.held.pop(which % len(self.held))
        self.lost.append(held)
        return held

    @rule(seconds=st.integers(0, 9))
    def promote(self, seconds: int) -> None:
        self.now += seconds
        pausing = [job for job in self.expected.values() if job.state is JobState.WAITING and not job.parents]
        due = [job for job in pausing if job.due <= self.now]
        assert self.do(self.store.promote_due, later(self.now)) == len(due)
        for job in due:
            job.state = JobState.QUEUED

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        job_id, job = list(self.expected.items())[which % len(self.expected)]
        if job.state in (JobState.COMPLETED, JobState.FAILED):
            with pytest.raises(JobFinishedError):
                self.do(self.store.request_cancel, job_id, self.moment)
            return
        assert self.do(self.store.request_cancel, job_id, self.moment) is job.state
        if job.state is JobState.RUNNING:
            job.flagged = True
        elif job.state is not JobState.CANCELLED:
            self._ended(job_id, JobState.CANCELLED)

    @rule()
    def restart(self) -> None:
        """Another process takes over; whatever the one before it holds is fenced from now on."""
        before = self.epochs
        self.epochs = self.do(self.store.take_leases, "next", BACKENDS)
        assert all(self.epochs[name] > before[name] for name in BACKENDS)
        adopted: list[OpenAttempt] = self.do(self.store.adopt, self.epochs)
        alive = [(held.job_id, held.number, held.prompt_id) for held in self.held]
        assert sorted((held.job_id, held.number, held.prompt_id) for held in adopted) == sorted(alive)
        assert all(held.cancel_requested == self.expected[held.job_id].flagged for held in adopted)
        self.lost += self.held
        self.held = adopted

    @precondition(lambda self: self.lost)
    @rule(which=WHICH, kind=st.sampled_from(["advance", "finish", "requeue"]))
    def write_late(self, which: int, kind: str) -> None:
        lost, before = self.lost[-1 - which % min(4, len(self.lost))], self._everything()
        with pytest.raises(LeaseLostError):
            match kind:
                case "advance":
                    self.do(self.store.advance, lost, Stage.RENDERING, self.moment)
                case "finish":
                    self.do(self.store.finish, lost, JobState.COMPLETED, Outcome.SUCCEEDED, self.moment, reason="late")
                case _:
                    self.do(self.store.requeue, lost, Outcome.LOST, self.moment, reason="late", avoid=True)
        assert self._everything() == before

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.reader.execute(sql).fetchall()

    def _everything(self) -> list[list[tuple[Any, ...]]]:
        return [self._ask(f"SELECT * FROM {table}") for table in ("job", "attempt", "history", "lane")]

    @invariant()
    def the_jobs_stand_where_the_model_says(self) -> None:
        found = self._ask("SELECT uid, state, attempt, charged, pending FROM job WHERE state <> 4 ORDER BY id")
        assert [(uid, STATES[code], *rest) for uid, code, *rest in found] == [
            (job_id, job.state, job.attempts, job.charged, len(job.parents))
            for job_id, job in self.expected.items()
            if job.state is not JobState.FAILED
        ]
        failed = {job_id for job_id, job in self.expected.items() if job.state is JobState.FAILED}
        assert {uid for (uid,) in self._ask("SELECT uid FROM job WHERE state = 4")} == failed
        flagged = self._ask("SELECT uid FROM job WHERE state = 1 AND cancel_requested_at IS NOT NULL ORDER BY id")
        assert [uid for (uid,) in flagged] == [
            job_id for job_id, job in self.expected.items() if job.flagged and job.state is JobState.RUNNING
        ]

    @invariant()
    def each_lane_counts_the_jobs_that_wait_in_it(self) -> None:
        for column, state in (("queued", 0), ("held", 2)):
            counted = f"SELECT count(*) FROM job WHERE lane_id = lane.id AND state = {state}"
            assert self._ask(f"SELECT id FROM lane WHERE {column} <> ({counted})") == []

    @invariant()
    def a_running_job_has_one_open_attempt_and_no_other_job_has_any(self) -> None:
        open_attempts = self._ask("SELECT job_id, number, epoch FROM attempt WHERE ended_at IS NULL ORDER BY job_id")
        assert open_attempts == self._ask("SELECT id, attempt, epoch FROM job WHERE state = 1 ORDER BY id")

    @invariant()
    def history_follows_the_state_table_and_was_told_as_it_was_written(self) -> None:
        steps = self._ask("SELECT h.job_id, h.state, h.at, h.seq, uid FROM history h JOIN job ON job.id = h.job_id")
        last: dict[int, tuple[JobState | None, int]] = {}
        for row, code, at, _, _ in sorted(steps, key=lambda step: step[3]):
            before, when = last.get(row, (None, 0))
            assert before is STATES[code] is JobState.RUNNING or may_follow(before, STATES[code])
            assert at >= when
            last[row] = (STATES[code], at)
        assert sorted((e.seq, e.job_id, e.state) for e in self.told) == sorted(
            (seq, uid, STATES[code]) for _, code, _, seq, uid in steps
        )
        assert (
            self._ask("SELECT id, state FROM job WHERE seq <> (SELECT max(seq) FROM history WHERE job_id = id)") == []
        )


LivesOfJobs.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLivesOfJobs = LivesOfJobs.TestCase
