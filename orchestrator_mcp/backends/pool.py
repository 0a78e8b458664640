"""The known backends: who is there, what each can run, and the messages that it sends.

Each backend has one HTTP client, one task that looks at it, and one WebSocket. HTTP is the truth, the WebSocket a
hint. Two looks that fail take a backend out, or one if nobody listens there any more; one that succeeds brings it back.

The configuration may change at run time: a backend that left it takes nothing new and goes when its last attempt has
ended; one that moved to another address is a new one, and the old one ends the same way, unseen.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio
from anyio.abc import TaskGroup

from orchestrator_mcp.backends.backend import Backend, client_for, needs_new_client, new_client_id
from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.counting import count_foreign
from orchestrator_mcp.backends.foresight import Foresight
from orchestrator_mcp.backends.looks import CatalogueLooks
from orchestrator_mcp.backends.recovery import clear_abandoned, still_sick, still_warm
from orchestrator_mcp.backends.showing import backend_view
from orchestrator_mcp.backends.snapshots import snapshot
from orchestrator_mcp.backends.transport import NOBODY_LISTENS
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.blocklist import Blocklist
from orchestrator_mcp.domain.events import BackendChanged
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Candidate
from orchestrator_mcp.domain.situation import LastRender
from orchestrator_mcp.domain.views import BackendView
from orchestrator_mcp.domain.wishes import Wish
from orchestrator_mcp.errors import AnswerTooLargeError, BackendError, NotFoundError
from orchestrator_mcp.logs import log_context
from orchestrator_mcp.settings import BackendSettings, CurrentSettings, Settings

__all__ = ["Backend", "BackendPool"]

log = logging.getLogger(__name__)

CATALOGUE_AGE: Final = 300.0  # seconds until nodes and models are asked for again
MOST_LOOKS: Final = 100  # at all backends together, each second
SOCKET_PAUSE: Final = (0.5, 30.0)  # seconds between two tries of the WebSocket, growing


class BackendPool:
    """Every configured backend, watched.

    Args:
        settings: the configuration: its backends, the time-outs, the sizes.
        clock: the time.
        tell: called with each change of a backend.

    Attributes:
        looks: asks backends what they can run.
        attempts: how many runners work now, with whatever backend.
        adopted: whether each prompt of ours that backends may hold has its runner; only then others' can be counted.
        blocklist: which kinds of work avoid which backend.
        foresight: what is warm where, how fast backends are, and when jobs will be done.
    """

    def __init__(self, settings: CurrentSettings, *, clock: Clock, tell: Callable[[BackendChanged], None]) -> None:
        self._current = settings
        self._clock = clock
        self._tell = tell
        self.looks = CatalogueLooks(clock, tell)
        self.attempts = 0
        self.adopted = False
        self.blocklist = Blocklist()
        self.foresight = Foresight(clock, settings.now.scheduling)
        self._wishes: dict[str, Wish] = {}
        self._backends = {entry.id: self._made(entry, settings.now) for entry in settings.now.backends}
        self._moved: list[Backend] = []
        self._placing = 0
        self._tasks: TaskGroup | None = None
        self._random = random.Random()  # its own, so that nobody else's draws depend on it

    def _made(self, entry: BackendSettings, settings: Settings) -> Backend:
        wish = self._wishes.get(entry.id)
        return Backend(settings=entry, client=client_for(entry, settings), clock=self._clock, wish=wish)

    def remember(self, wishes: Mapping[str, Wish]) -> None:
        """Before the first dispatch: what operators want of backends, by backend."""
        for backend_id, wish in wishes.items():
            self._wish(backend_id, wish)

    def recall(self, renders: Mapping[str, LastRender]) -> None:
        """Before the first look: what each backend rendered last of ours, by backend."""
        for backend_id, last in renders.items():
            if backend_id in self:
                self[backend_id].canary, self[backend_id].left = last.prompt_id, last

    def heed(self, backend_id: str, wish: Wish | None) -> None:
        """An operator wants something of a backend from now on, or (None) nothing any more."""
        self._wish(backend_id, wish)
        self._attend(self[backend_id])
        self._let_go()
        self[backend_id].wake.set()
        self._tell(BackendChanged(backend_id=backend_id))

    def _wish(self, backend_id: str, wish: Wish | None) -> None:
        if wish is None:
            self._wishes.pop(backend_id, None)
        else:
            self._wishes[backend_id] = wish
        for backend in (*self, *self._moved):
            if backend.id == backend_id:
                backend.wish = wish

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[BackendPool]:
        """Open every client, and close it afterwards."""
        try:
            for backend in self:
                await backend.clients.enter_async_context(backend.client)
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                for backend in (*self, *self._moved):
                    await backend.clients.aclose()

    async def run(self) -> None:
        """Look at every backend, for ever."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for backend in self:
                self._attend(backend)
            await anyio.sleep_forever()

    async def change(self, settings: Settings, epochs: Mapping[str, int]) -> None:
        """Take other settings, all in one step; attempts that run now go on.

        Args:
            settings: what holds from now on.
            epochs: the leases of the backends that are new.
        """
        with self.placing():
            made, clients = await self._prepared(settings)
            self._current.replace(settings)
            self.foresight.configure(settings.scheduling)
            for entry in settings.backends:
                if entry.id in made:
                    self._join(made[entry.id], epochs)
                else:
                    self._keep(entry, clients.get(entry.id))
            for gone in self._backends.keys() - {entry.id for entry in settings.backends}:
                self._drain(self._backends[gone])

    async def _prepared(self, settings: Settings) -> tuple[dict[str, Backend], dict[str, ComfyClient]]:
        """Backends that are new or elsewhere, and clients of the others that are to speak differently; all open."""
        made, clients = {}, {}
        for entry in settings.backends:
            known = self._backends.get(entry.id)
            if known is None or known.settings.url != entry.url:
                made[entry.id] = self._made(entry, settings)
                await made[entry.id].clients.enter_async_context(made[entry.id].client)
            elif needs_new_client(known.settings, entry, self._current.now, settings):
                clients[entry.id] = await known.clients.enter_async_context(client_for(entry, settings))
        return made, clients

    def _join(self, backend: Backend, epochs: Mapping[str, int]) -> None:
        former = self._backends.get(backend.id)
        if former is not None:
            backend.epoch = former.epoch
            self._moved.append(former)
            self._drain(former)
        else:
            backend.epoch = epochs[backend.id]
        self._backends[backend.id] = backend
        self._attend(backend)
        self._tell(BackendChanged(backend_id=backend.id))

    def _keep(self, entry: BackendSettings, client: ComfyClient | None) -> None:
        backend = self._backends[entry.id]
        if client is not None:
            backend.client, backend.stats = client, None
        backend.settings, backend.draining = entry, False
        self._attend(backend)
        backend.wake.set()
        self._tell(BackendChanged(backend_id=entry.id))

    def _drain(self, backend: Backend) -> None:
        if not backend.draining:
            backend.draining = True
            told = "backend left the configuration; %d attempts end there"
            log.info(told, backend.attempts, extra={"backend_id": backend.id})
            self._tell(BackendChanged(backend_id=backend.id))

    def _attend(self, backend: Backend) -> None:
        """Look at a backend and listen to it, if that is not done already."""
        if self._tasks is not None and backend.enabled and backend.tasks is None:
            backend.tasks = anyio.CancelScope()
            self._tasks.start_soon(self._watch_and_listen, backend, backend.tasks, name=f"backend {backend.id}")

    async def _watch_and_listen(self, backend: Backend, scope: anyio.CancelScope) -> None:
        with scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, backend, name=f"watch {backend.id}")
                tasks.start_soon(self._listen, backend, name=f"listen {backend.id}")

    @contextmanager
    def placing(self) -> Iterator[None]:
        """While jobs are claimed and their runners made: no backend goes in between."""
        self._placing += 1
        try:
            yield
        finally:
            self._placing -= 1
            self._let_go()

    def take(self, backend_id: str) -> Backend | None:
        """Work with a backend until `leave`; None when it is not in the configuration."""
        backend = self._backends.get(backend_id)
        if backend is not None:
            backend.attempts += 1
            self.attempts += 1
        return backend

    def leave(self, backend: Backend) -> None:
        """An attempt needs a backend no longer."""
        backend.attempts -= 1
        self.attempts -= 1
        backend.sharing.had_a_turn(self._clock.monotonic())
        if not backend.attempts and (backend.draining or not backend.enabled):
            self._let_go()

    def _let_go(self) -> None:
        """Part with what is not wanted any more, as soon as no attempt needs it."""
        if self._placing:
            return
        for backend in [backend for backend in (*self, *self._moved) if not backend.attempts]:
            if backend.draining:
                self._remove(backend)
            elif not backend.enabled:
                backend.rest()

    def _remove(self, backend: Backend) -> None:
        backend.rest()
        if backend in self._moved:
            self._moved.remove(backend)
        else:
            del self._backends[backend.id]
        if self._tasks is not None:
            self._tasks.start_soon(backend.clients.aclose, name=f"close {backend.id}")
        log.info("backend at %s is gone", backend.settings.url, extra={"backend_id": backend.id})
        self._tell(BackendChanged(backend_id=backend.id))

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._backends.values())

    def __contains__(self, backend_id: str) -> bool:
        return backend_id in self._backends

    def __getitem__(self, backend_id: str) -> Backend:
        """One backend. Raises NotFoundError."""
        try:
            return self._backends[backend_id]
        except KeyError:
            raise NotFoundError("backend", backend_id, known=self._backends) from None

    def giving_back(self, candidates: Iterable[Candidate]) -> list[str]:
        """The backends whose standbys are to go elsewhere.

        Args:
            candidates: the backends as they are now.
        """
        withheld = (one.backend_id for one in candidates if one.unavailable is not None)
        return [backend_id for backend_id in withheld if self[backend_id].gives_back]

    def catalogues(self) -> dict[str, NodeCatalogue]:
        """What is known of the backends' node classes, by backend, in the order of the configuration."""
        return {backend.id: backend.catalogue for backend in self if backend.catalogue is not None}

    async def looked_at_once(self, within: float) -> None:
        """Wait until every backend that is looked at has been, whatever came of it.

        Args:
            within: seconds after which the wait is over all the same.
        """
        with anyio.move_on_after(within):
            for backend in [backend for backend in self if backend.tasks is not None]:
                await backend.looked.wait()

    def candidates(self, running: Mapping[str, int]) -> list[Candidate]:
        """What placement needs to know, as values that no longer change.

        Args:
            running: attempts that each backend holds now.
        """
        candidates = [snapshot(one, running.get(name, 0), self._withheld) for name, one in self._backends.items()]
        return self.blocklist.applied(candidates, self._clock.now())

    def _withheld(self, backend: Backend) -> str | None:
        """Why it takes no job now: it is not there, it may not, or it is somebody else's turn."""
        unavailable = backend.unavailable
        if unavailable is not None or not backend.sharing.foreign:
            return unavailable
        return backend.sharing.words(self._clock.monotonic(), self._current.now.scheduling.foreign_patience)

    def refuses(self, backend: Backend, spec: LaneSpec) -> str | None:
        """Why a job that was claimed for a backend is better not sent there any more, or None.

        Args:
            backend: one of ours, or one that was.
            spec: what the job needs.
        """
        blocked = self.blocklist.words(backend.id, spec, self._clock.now())
        return self._withheld(backend) or blocked

    def view(self, backend: Backend, running: int) -> BackendView:
        """What callers see of a backend.

        Args:
            backend: one of ours.
            running: attempts that it holds now.
        """
        blocks = self.blocklist.of(backend.id, self._clock.now())
        return backend_view(backend, running=running, withheld=self._withheld(backend), blocks=blocks)

    async def _watch(self, backend: Backend) -> None:
        with log_context(backend_id=backend.id):
            while True:
                await self._look(backend)
                backend.looked.set()
                if backend.opened_or_closed():
                    self._tell(BackendChanged(backend_id=backend.id))
                backend.wake = anyio.Event()
                pause = (
                    max(self._current.now.scheduling.probe_interval, len(self._backends) / MOST_LOOKS) * backend.rarer
                )
                with anyio.move_on_after(pause * self._random.uniform(0.9, 1.1)):
                    await backend.wake.wait()

    async def _look(self, backend: Backend) -> None:
        try:
            if not backend.online or backend.stats is None:
                backend.stats = await backend.client.stats()
            await self._count(backend)
            await self.looks.renew(backend, older_than=CATALOGUE_AGE)
            if backend.left is not None:
                self.foresight.found_warm(backend, await still_warm(backend))
            if backend.abandoned:
                await clear_abandoned(backend)
            await self._consider_trial(backend)
        except BackendError as error:
            self._missed(backend, error)
            return
        if backend.seems_deaf(backend.queue_remaining, self._clock.monotonic()):
            log.warning("the event stream has gone silent; another one is opened")
            backend.listen_anew()
        backend.misses = 0
        backend.last_seen = self._clock.now()
        if not backend.online:
            backend.online, backend.reason = True, None
            backend.came_online.set()
            version = (backend.stats and backend.stats.version) or "of unknown version"
            log.info("backend is online at %s, ComfyUI %s", backend.settings.url, version)
            self._tell(BackendChanged(backend_id=backend.id))

    async def _count(self, backend: Backend) -> None:
        foreign = await count_foreign(backend)
        if self.adopted and backend.sharing.seen(foreign, self._clock.monotonic()):
            log.info("somebody else uses the backend" if foreign else "nobody else uses the backend any more")
            self._tell(BackendChanged(backend_id=backend.id))

    async def _consider_trial(self, backend: Backend) -> None:
        """A suspect backend that looks well gets one job."""
        now = self._clock.monotonic()
        if not backend.breaker.due(now):
            return
        reason = await still_sick(backend)
        if reason is not None:
            backend.breaker.put_off(reason, now, pause=self._current.now.scheduling.suspect_pause)
            return
        log.info("the suspect backend gets a job on trial")
        backend.breaker.allow_trial()
        self._tell(BackendChanged(backend_id=backend.id))

    def _missed(self, backend: Backend, error: BackendError) -> None:
        backend.misses += 1
        gone = error.details.get("reason") == NOBODY_LISTENS
        if gone and backend.misses == 1 and backend.last_seen is not None:
            backend.falls += 1  # the process that held our prompts is no more
            backend.deaths += 1
        if backend.misses == 1 and backend.online and not gone:
            return
        reason = error.message.rstrip(".")
        if isinstance(error, AnswerTooLargeError):
            reason = f"{reason}; limits.backend_json_bytes in config.yaml sets what is taken"
        if backend.reason != reason:
            log.warning("backend is offline: %s", reason)
        was_online, backend.online, backend.reason = backend.online, False, reason
        backend.stats = None
        backend.catalogue_at = float("-inf")
        backend.warm = ""
        backend.came_online = anyio.Event() if was_online else backend.came_online
        if was_online:
            self._tell(BackendChanged(backend_id=backend.id))

    async def _listen(self, backend: Backend) -> None:
        pause = SOCKET_PAUSE[0]
        with log_context(backend_id=backend.id):
            while True:
                await backend.came_online.wait()
                try:
                    with anyio.CancelScope() as backend.ear:
                        async with backend.client.listen(backend.client_id) as messages:
                            backend.begin_to_listen()
                            async for message in messages:
                                pause = SOCKET_PAUSE[0]
                                backend.hear(message)
                    backend.falls += not backend.ear.cancelled_caught
                except BackendError as error:
                    log.debug("event stream ended: %s", error.message)
                    backend.falls += backend.listening
                finally:
                    if backend.listening:
                        backend.wake.set()  # it may be gone: that is not left to the next look
                    backend.listening = False
                    backend.client_id = new_client_id()
                backend.tell_of_a_gap()
                await self._clock.sleep(pause * self._random.uniform(0.8, 1.2))
                pause = min(pause * 2, SOCKET_PAUSE[1])
