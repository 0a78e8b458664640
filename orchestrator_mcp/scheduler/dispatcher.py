"""The loop that gives free slots to queued jobs, and owns the runners."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from orchestrator_mcp.backends.foresight import Decision
from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.events import BackendChanged, Event, JobChanged
from orchestrator_mcp.domain.experience import Standby
from orchestrator_mcp.domain.jobs import JobState, Stage
from orchestrator_mcp.domain.placement import Candidate
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.scheduler.missing import MissingWatch
from orchestrator_mcp.scheduler.recalling import recall
from orchestrator_mcp.scheduler.resources import LONGEST_PAUSE, Resources
from orchestrator_mcp.scheduler.runner import Runner
from orchestrator_mcp.scheduler.successors import Successors
from orchestrator_mcp.store import OpenAttempt

log = logging.getLogger(__name__)

SLOW_SCAN: Final = 5.0  # seconds: events only make it faster
_ROUND: Final = "a round of the dispatcher"
LAST_WRITES: Final = 2.0  # seconds that giving back what was never sent may take at the end
STARTED_AT_ONCE: Final = 16  # runners; each begins with half a millisecond of work for the event loop
ALL_COLLECTING: Final = 64  # attempts whose files are fetched while their backends render on, shared out evenly
MOST_COLLECTING: Final = 8  # of them on one backend
FEWEST_COLLECTING: Final = 2  # on however large a farm


class Dispatcher:
    """Late binding: a job takes a backend only when a slot is free.

    Args:
        resources: see `Resources`.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._runners: dict[str, Runner] = {}
        self._occupying: dict[str, set[Runner]] = {}
        self._open: Counter[str] = Counter()
        self._claimed: set[Runner] = set()
        self._successors = Successors(resources, lambda: self._wake.set())
        self._wake = anyio.Event()
        self._going_on: Decision | None = None
        self._due: int | None = None
        self._knows_due = False
        self._may_wait = True  # a job, as far as is known: else a slot that becomes free is no reason to ask the store
        resources.events.listen(self._hear)

    @property
    def running(self) -> dict[str, int]:
        """Attempts that have a slot of each backend now; a successor has none yet."""
        waiting = self._successors.waiting
        return {backend_id: len(runners) - waiting(backend_id) for backend_id, runners in self._occupying.items()}

    @property
    def _taking_slots(self) -> dict[str, int]:
        """The same with successors, and with those whose files are fetched as far as they are too many.

        Else renders would outrun disks.
        """
        taking = {backend_id: len(runners) for backend_id, runners in self._occupying.items()}
        allowed = most_collecting(len(self._occupying))
        for backend_id, held in taking.items():
            if self._open[backend_id] - held > allowed:
                taking[backend_id] = self._open[backend_id] - allowed
        return taking

    def _may_collect_more(self, backend_id: str) -> bool:
        """Whether, when a render of a backend has ended, the next may be sent beside fetching its files."""
        held = len(self._occupying.get(backend_id, ()))
        return self._open[backend_id] - held < most_collecting(len(self._occupying))

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Adopt what was open, then dispatch until cancelled. Ready when the adopted runners have started."""
        try:
            await self._run(task_status)
        finally:
            await self._give_back()

    async def _run(self, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as tasks:
            await self._adopt(tasks)
            task_status.started()
            await anyio.lowlevel.checkpoint()  # the adopted runners begin to listen
            self._resources.pool.adopted = True
            tasks.start_soon(MissingWatch(self._resources).run, name="missing")
            tasks.start_soon(self._successors.run, name="successors")
            tasks.start_soon(self._recall, name="what was left behind")
            while True:
                if self._going_on is None:  # what came while a decision went on has a say in the next
                    self._wake = anyio.Event()
                pause = await self._dispatch_what_fits(tasks)
                if not self._wake.is_set():
                    self._resources.right_of_way.arrived(_ROUND)
                with anyio.move_on_after(pause) as waited:
                    await self._wake.wait()
                self._knows_due &= not waited.cancelled_caught
                self._may_wait |= waited.cancelled_caught

    async def _adopt(self, tasks: TaskGroup) -> None:
        store, pool, marks = self._resources.store, self._resources.pool, self._resources.marks
        left, owners = await anyio.to_thread.run_sync(marks.left), await store.backends.owners()
        epochs = await store.take_leases(marks.owner, [backend.id for backend in pool])
        for backend in pool:
            backend.epoch = epochs[backend.id]
        adopted = await store.adopt(epochs)
        untold = {held.prompt_id: owners.get(held.backend_id) for held in adopted if not held.accepted}
        unsent = left.never_sent(untold) if left is not None else set()
        await anyio.to_thread.run_sync(marks.begin, untold.keys() - unsent)
        for held in sorted(adopted, key=lambda held: (held.prompt_id in unsent, _may_be_unsent(held))):
            log.info("adopting an attempt that was open", extra=_fields(held))
            self._start(tasks, held, adopted=True, never_sent=held.prompt_id in unsent)

    async def _give_back(self) -> None:
        """Queue the jobs again that were claimed and never sent: the next start need not ask what became of them."""
        with anyio.move_on_after(LAST_WRITES, shield=True):
            for runner in [runner for runner in self._claimed if not runner.sent]:
                await runner.give_back()

    async def _recall(self) -> None:
        """Beside the work: it looks through every attempt that is on record."""
        resources = self._resources
        await recall(resources.store, resources.pool, instance=resources.instance, clock=resources.clock)

    async def _dispatch_what_fits(self, tasks: TaskGroup) -> float:
        """One round; how long to wait for the next, in seconds, if nothing wakes us."""
        store, clock = self._resources.store, self._resources.clock
        going_on, self._going_on = self._going_on, None
        try:
            if self._due is not None and self._is_due(self._due):
                await store.promote_due(clock.now(), due_by=max(self._due, to_millis(clock.now())))
                self._knows_due = False
            candidates = self._resources.pool.candidates(self._taking_slots)
            candidates = self._successors.with_room(candidates, self._may_collect_more)
            self._take_back(candidates)
            if any(candidate.has_room for candidate in candidates):
                if self._may_wait and await self._claim(tasks, candidates, going_on):
                    self._wake.set()
                else:
                    self._revoke_standbys()
            if not self._knows_due:
                self._knows_due = True  # unless somebody begins to wait meanwhile
                self._due = await store.next_due()
        except StorageError as error:
            self._knows_due, self._may_wait = False, True
            log.error("cannot claim jobs now, trying again: %s", error)
            return LONGEST_PAUSE
        if self._due is None:
            return SLOW_SCAN
        return max(0.0, min(SLOW_SCAN, (self._due - to_millis(clock.now())) / 1000))

    async def _claim(self, tasks: TaskGroup, candidates: Sequence[Candidate], going_on: Decision | None) -> bool:
        """Give free slots to jobs, by the decision that goes on or a new one; whether there may be more to give."""
        pool, clock = self._resources.pool, self._resources.clock
        decision = going_on or pool.foresight.outlook(pool, candidates)
        present = candidates if going_on else decision.outlook.candidates
        if going_on is None:
            self._may_wait = False  # unless one is left, or queued meanwhile
        with pool.placing():
            with anyio.CancelScope(shield=True):  # what is claimed is known here, to be given back at the end
                held_now = await self._resources.store.claim(
                    lambda: present, clock.now(), decision.choose, decision.lanes
                )
                for count, held in enumerate(held_now, 1):
                    self._start(tasks, held, adopted=False)
                    if count % STARTED_AT_ONCE == 0:
                        await anyio.lowlevel.checkpoint()  # they all begin with work of their own
        decision.gave(len(held_now))
        pool.foresight.decided(decision)
        self._may_wait |= decision.left_jobs
        if not held_now:
            return going_on is not None  # what it was made from is no longer so: another one
        self._going_on = decision if decision.goes_on else None
        return decision.goes_on

    def _is_due(self, due: int) -> bool:
        """Whether a pause is over; one that is longer than any can be means that the calendar was set back."""
        now, scheduling = to_millis(self._resources.clock.now()), self._resources.scheduling
        longest = max(scheduling.retry_delay, scheduling.retry_delay_max) * 1000
        return not now < due <= now + longest

    def _start(self, tasks: TaskGroup, held: OpenAttempt, *, adopted: bool, never_sent: bool = False) -> None:
        runner = Runner(
            self._resources,
            held,
            adopted=adopted,
            never_sent=never_sent,
            sending=self._successors.sending,
            slot_free=self._slot_free,
        )
        self._runners[held.job_id] = runner
        occupying = self._occupying.setdefault(held.backend_id, set())
        occupying.add(runner)
        self._open[held.backend_id] += 1
        if not adopted:
            self._claimed.add(runner)
        if not self._successors.lines_up(runner, len(occupying)):
            self._has_its_turn(runner)
        self._resources.pool.foresight.given(runner.name, held.backend_id, held.lane_id, held.lane)
        tasks.start_soon(self._supervise, runner, name=f"run {held.job_id}/{held.number}")

    def _has_its_turn(self, runner: Runner) -> None:
        if runner in self._claimed:
            self._resources.right_of_way.hurry(runner.name)
        runner.has_its_turn()

    async def _supervise(self, runner: Runner) -> None:
        """The boundary around one attempt: a bug in it must not end the others.

        The attempt stays open in the store and is adopted at the next start.
        """
        try:
            await runner.run()
            self._claimed.discard(runner)
        except Exception:
            self._claimed.discard(runner)
            log.exception("the attempt broke off", extra=_fields(runner.held))
        finally:
            if self._runners.get(runner.held.job_id) is runner:
                del self._runners[runner.held.job_id]
            self._resources.right_of_way.arrived(runner.name)
            self._ended(runner)

    def _ended(self, runner: Runner) -> None:
        """An attempt is over; its slot was free before, and by now the job that has it may be given a standby."""
        self._open[runner.held.backend_id] -= 1
        self._wake.set()

    def _slot_free(self, runner: Runner) -> None:
        self._occupying[runner.held.backend_id].discard(runner)
        self._resources.pool.foresight.ended(runner.name, runner.held.backend_id, rendered=False)
        successor = self._successors.slot_free(runner)
        if successor is not None:
            self._has_its_turn(successor)
        else:
            self._resources.right_of_way.hurry(_ROUND)
            self._wake.set()

    def _take_back(self, candidates: Sequence[Candidate]) -> None:
        """Take standbys back from backends that are to get nothing more."""
        for backend_id in self._resources.pool.giving_back(candidates):
            for runner in self._occupying.get(backend_id, ()):
                if runner.standing_by:
                    reason = self._resources.pool[backend_id].unavailable
                    log.info("taking back the standby: %s", reason, extra=_fields(runner.held))
                    runner.revoke(f"taken back: {reason}")
        for runner, reason in self._successors.unwanted():
            log.info("taking back the successor: %s", reason, extra=_fields(runner.held))
            runner.revoke(f"taken back: {reason}")

    def _revoke_standbys(self) -> None:
        """Take standbys back for backends that are idle now and would render them at once."""
        behind = [runner for runners in self._occupying.values() if len(runners) > 1 for runner in runners]
        standbys = {runner.name: runner for runner in sorted(behind, key=_row) if runner.standing_by}
        if not standbys:
            return
        pool = self._resources.pool
        candidates = pool.candidates(self._taking_slots)
        coming = sum(runner.revoked for runner in self._runners.values())
        room = max(0, sum(candidate.idle for candidate in candidates) - coming)
        if not room:
            return
        waiting = [Standby(attempt=name, lane=runner.held.lane) for name, runner in standbys.items()]
        for name in pool.foresight.moving(waiting, candidates)[:room]:
            log.info("taking back the standby: another backend is idle", extra=_fields(standbys[name].held))
            standbys[name].revoke()

    def _hear(self, event: Event) -> None:
        if isinstance(event, JobChanged):
            if event.cancel and event.job_id in self._runners:
                self._runners[event.job_id].cancel()
            if event.state in (JobState.QUEUED, JobState.WAITING):
                self._knows_due &= event.state is not JobState.WAITING
                self._may_wait = True
                self._wake.set()
        elif isinstance(event, BackendChanged):
            self._may_wait = True  # what is known of the backends is looked at with each decision
            self._wake.set()


def most_collecting(backends: int) -> int:
    """Of how many attempts of each backend the files may be fetched while it renders the next.

    Each of them keeps memory and makes the turns of the event loop longer.

    Args:
        backends: how many work at the same time.
    """
    return max(FEWEST_COLLECTING, min(MOST_COLLECTING, ALL_COLLECTING // max(1, backends)))


def _fields(held: OpenAttempt) -> dict[str, object]:
    """Whose line of the log it is."""
    return {"job_id": held.job_id, "attempt": held.number, "backend_id": held.backend_id}


def _may_be_unsent(held: OpenAttempt) -> bool:
    return held.stage is Stage.DISPATCHING


def _row(runner: Runner) -> int:
    return runner.held.row
