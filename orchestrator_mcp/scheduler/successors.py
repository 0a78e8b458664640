"""The jobs that are claimed while the render before them is in its last moments, and wait here until its slot is free.

The intent is durable, the graph is made and the input files are brought before that render ends: what is left to do
then is to send. Nothing was sent of one that waits here, so it is taken back without asking anybody.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

import anyio

from orchestrator_mcp.domain.situation import Candidate, with_facts
from orchestrator_mcp.domain.successors import Window, window
from orchestrator_mcp.scheduler.resources import Resources
from orchestrator_mcp.scheduler.runner import Runner

TOGETHER: Final = 0.05  # seconds: what is due within so many is looked at together, and decided in one round


class Successors:
    """Knows which renders are in their last moments, and who waits for the end of one.

    Backends with two slots have none: there the next job waits in the backend's own queue.

    Args:
        resources: see `Resources`.
        tell: called when renders have come into their last moments, or gone on beyond them.
    """

    def __init__(self, resources: Resources, tell: Callable[[], None]) -> None:
        self._resources = resources
        self._tell = tell
        self._sooner = anyio.Event()
        self._windows: dict[Runner, Window] = {}
        self._looks: list[tuple[float, int, Runner]] = []
        self._numbers = count()
        self._in_last_moments: dict[str, Runner] = {}
        self._waiting: defaultdict[str, list[Runner]] = defaultdict(list)

    async def run(self) -> None:
        """Tell whenever renders have come into their last moments, or have gone on beyond them; until cancelled."""
        while True:
            self._sooner = anyio.Event()
            with anyio.move_on_after(self._pause()):
                await self._sooner.wait()
            if self._look():
                self._tell()

    def _pause(self) -> float | None:
        """Seconds until there is something to look at; None while nothing is in sight."""
        while self._looks and self._looks[0][2] not in self._windows:
            heapq.heappop(self._looks)
        return max(0.0, self._looks[0][0] - self._now()) if self._looks else None

    def sending(self, runner: Runner) -> None:
        """An attempt is sent now; on a backend with one slot its render begins with that."""
        backend = runner.backend
        if backend is None or backend.settings.slots > 1:
            return
        found = window(self._now(), self._resources.pool.foresight.expected(runner.name, backend.id))
        if found is not None:
            self._windows[runner] = found
            self._look_at(runner, found.opens)

    def lines_up(self, runner: Runner, given: int) -> bool:
        """Have an attempt that was claimed, or found again, wait if others have the slots; whether it does.

        Args:
            runner: of the attempt.
            given: attempts that its backend was given and has not done, with this one.
        """
        slots = runner.backend.settings.slots if runner.backend is not None else 1
        waiting = self._waiting[runner.held.backend_id]
        if given - len(waiting) <= slots:
            return False
        waiting.append(runner)
        return True

    def waiting(self, backend_id: str) -> int:
        """How many wait for a slot of a backend.

        Args:
            backend_id: which one.
        """
        return len(self._waiting.get(backend_id, ()))

    def slot_free(self, runner: Runner) -> Runner | None:
        """An attempt has its slot no more; who has its turn now.

        Args:
            runner: of the attempt; it may be one that waited.
        """
        backend_id = runner.held.backend_id
        self._windows.pop(runner, None)
        if self._in_last_moments.get(backend_id) is runner:
            del self._in_last_moments[backend_id]
        waiting = self._waiting[backend_id]
        if runner in waiting:
            waiting.remove(runner)
            return None
        return waiting.pop(0) if waiting else None

    def _look(self) -> bool:
        """Notice how far renders are; those that are about to be looked at too. Whether any is further."""
        news = False
        while (pause := self._pause()) is not None and pause <= TOGETHER:
            *_, runner = heapq.heappop(self._looks)
            closes = self._windows[runner].closes
            if self._now() < closes - TOGETHER:
                self._in_last_moments[runner.held.backend_id] = runner
                self._look_at(runner, closes)
            else:
                del self._windows[runner]
                self._in_last_moments.pop(runner.held.backend_id, None)
            news = True
        return news

    def _look_at(self, runner: Runner, at: float) -> None:
        heapq.heappush(self._looks, (at, next(self._numbers), runner))
        if self._looks[0][2] is runner:
            self._sooner.set()

    def with_room(self, candidates: list[Candidate], may_go_on: Callable[[str], bool]) -> list[Candidate]:
        """The same backends; those whose render is in its last moments have room for its successor.

        Args:
            candidates: as they are.
            may_go_on: whether a backend may get its next job as soon as this render has ended.
        """
        if not self._in_last_moments:
            return candidates
        return [
            with_facts(one, slots=2) if self._may_follow(one) and may_go_on(one.backend_id) else one
            for one in candidates
        ]

    def _may_follow(self, candidate: Candidate) -> bool:
        if candidate.backend_id not in self._in_last_moments or candidate.running != 1:
            return False
        backend = self._resources.pool[candidate.backend_id]
        return not backend.breaker.trial and not backend.sharing.foreign

    def unwanted(self) -> Iterator[tuple[Runner, str]]:
        """Who waits in vain, and why."""
        for backend_id, waiting in self._waiting.items():
            for runner in waiting:
                if runner.standing_by and (reason := self._against(runner, backend_id)) is not None:
                    yield runner, reason

    def _against(self, runner: Runner, backend_id: str) -> str | None:
        if backend_id not in self._in_last_moments:
            return "the render before it takes longer than was thought"
        backend = runner.backend
        return self._resources.pool.refuses(backend, runner.held.lane) if backend is not None else None

    def _now(self) -> float:
        return self._resources.clock.monotonic()
