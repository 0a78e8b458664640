"""The known backends: who is there, what each can run, and the messages that it sends.

Each backend has one HTTP client, one task that looks at it, and one WebSocket. HTTP is the truth, the WebSocket a
hint. Two looks that fail take a backend out; one that succeeds brings it back.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.messages import Message, StatusChanged
from orchestrator_mcp.backends.queues import BackendStats
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.events import BackendChanged
from orchestrator_mcp.domain.placement import Candidate
from orchestrator_mcp.domain.views import BackendView
from orchestrator_mcp.errors import BackendError, BackendRefusedError, NotFoundError
from orchestrator_mcp.logs import log_context
from orchestrator_mcp.settings import BackendSettings, LimitSettings, SchedulingSettings

log = logging.getLogger(__name__)

MISSES_TO_OFFLINE: Final = 2
CATALOGUE_AGE: Final = 300.0  # seconds until nodes and models are asked for again
MESSAGES_WAITING: Final = 256
SOCKET_PAUSE: Final = (0.5, 30.0)  # seconds between two tries of the WebSocket, growing


@dataclass(kw_only=True, eq=False)
class Backend:
    """One ComfyUI server as it is now. Changed on the event loop only.

    Attributes:
        client_id: names our WebSocket of this moment; a new connection takes a new one, because a server that drops
            an old socket late also forgets the new one of the same name (ComfyUI issue 16010).
        falls: how often it was seen to go down, or cut its WebSocket: what it held before may be gone.
        epoch: the lease under which we dispatch to it.
    """

    settings: BackendSettings
    client: ComfyClient
    epoch: int = 0
    online: bool = False
    reason: str | None = "it has not answered yet"
    misses: int = 0
    falls: int = 0
    client_id: str = ""
    listening: bool = False
    queue_remaining: int = 0
    last_seen: datetime | None = None
    stats: BackendStats | None = None
    catalogue: NodeCatalogue | None = None
    catalogue_at: float = 0.0
    warm: str = ""
    wake: anyio.Event = field(default_factory=anyio.Event)
    came_online: anyio.Event = field(default_factory=anyio.Event)
    readers: dict[str, MemoryObjectSendStream[Message | None]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.settings.id

    @property
    def unavailable(self) -> str | None:
        """Why it takes no job now, or None."""
        if not self.settings.enabled:
            return "it is disabled in the configuration"
        return None if self.online else f"it is offline: {self.reason}"

    @contextmanager
    def messages(self, prompt_id: str) -> Iterator[MemoryObjectReceiveStream[Message | None]]:
        """Hear what it says of one prompt; None means that the WebSocket broke and something may be missed."""
        send, receive = anyio.create_memory_object_stream[Message | None](MESSAGES_WAITING)
        self.readers[prompt_id] = send
        try:
            with send, receive:
                yield receive
        finally:
            for known in [known for known, reader in self.readers.items() if reader is send]:
                del self.readers[known]

    def also_known_as(self, prompt_id: str, drawn: str) -> None:
        """A server too old to take our prompt id drew its own: its messages come under that."""
        self.readers[drawn] = self.readers[prompt_id]

    def distrust(self) -> None:
        """Have it looked at again at once."""
        self.wake.set()

    def forget_catalogue(self) -> None:
        """Ask for its nodes and models again: it has just refused something that it should have."""
        self.catalogue_at = float("-inf")
        self.wake.set()


class BackendPool:
    """Every configured backend, watched.

    Args:
        backends: the configuration.
        scheduling: intervals and time-outs.
        limits: sizes.
        clock: the time.
        tell: called with each change of a backend.
    """

    def __init__(
        self,
        backends: Sequence[BackendSettings],
        *,
        scheduling: SchedulingSettings,
        limits: LimitSettings,
        clock: Clock,
        tell: Callable[[BackendChanged], None],
    ) -> None:
        self._scheduling = scheduling
        self._clock = clock
        self._tell = tell
        self._backends = {
            settings.id: Backend(settings=settings, client=ComfyClient(settings, scheduling=scheduling, limits=limits))
            for settings in backends
        }

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[BackendPool]:
        """Open every client, and close it afterwards."""
        async with AsyncExitStack() as stack:
            for backend in self:
                await stack.enter_async_context(backend.client)
            yield self

    async def run(self) -> None:
        """Look at every backend, for ever."""
        async with anyio.create_task_group() as tasks:
            for backend in self:
                if backend.settings.enabled:
                    tasks.start_soon(self._watch, backend, name=f"watch {backend.id}")
                    tasks.start_soon(self._listen, backend, name=f"listen {backend.id}")

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

    def candidates(self, running: Mapping[str, int]) -> list[Candidate]:
        """What placement needs to know, as values that no longer change.

        Args:
            running: attempts that each backend holds now.
        """
        return [
            Candidate(
                backend_id=backend.id,
                epoch=backend.epoch,
                unavailable=backend.unavailable,
                capabilities=frozenset(backend.settings.capabilities),
                slots=backend.settings.slots,
                running=running.get(backend.id, 0),
                catalogue=backend.catalogue,
                warm=backend.warm,
                sandbox=backend.settings.kind == "sandbox",
            )
            for backend in self
        ]

    def view(self, backend: Backend, running: int) -> BackendView:
        """What callers see of a backend.

        Args:
            backend: one of ours.
            running: attempts that it holds now.
        """
        settings = backend.settings
        foreign = max(0, backend.queue_remaining - running) if backend.online else 0
        return BackendView(
            id=settings.id,
            name=settings.name,
            host=settings.host,
            port=settings.port,
            kind=settings.kind,
            enabled=settings.enabled,
            online=backend.online,
            status=_status(backend, running + foreign),
            reason=backend.unavailable,
            capabilities=list(settings.capabilities),
            slots=settings.slots,
            running=running,
            foreign=foreign,
            comfyui_version=backend.stats.version if backend.stats else None,
            devices=_devices(backend.stats.devices) if backend.stats else [],
            last_seen=backend.last_seen,
        )

    async def _watch(self, backend: Backend) -> None:
        with log_context(backend_id=backend.id):
            while True:
                await self._look(backend)
                backend.wake = anyio.Event()
                pause = self._scheduling.probe_interval * random.uniform(0.9, 1.1)
                with anyio.move_on_after(pause):
                    await backend.wake.wait()

    async def _look(self, backend: Backend) -> None:
        try:
            if not backend.online or backend.stats is None:
                backend.stats = await backend.client.stats()
            backend.queue_remaining = await backend.client.queue_remaining()
            if self._clock.monotonic() - backend.catalogue_at > CATALOGUE_AGE or backend.catalogue is None:
                backend.catalogue = await backend.client.object_info()
                backend.catalogue_at = self._clock.monotonic()
                self._tell(BackendChanged(backend_id=backend.id))
        except BackendError as error:
            self._missed(backend, error)
            return
        backend.misses = 0
        backend.last_seen = self._clock.now()
        if not backend.online:
            backend.online, backend.reason = True, None
            backend.came_online.set()
            version = backend.stats.version if backend.stats else "unknown"
            log.info("backend is online at %s, ComfyUI %s", backend.settings.url, version)
            self._tell(BackendChanged(backend_id=backend.id))

    def _missed(self, backend: Backend, error: BackendError) -> None:
        backend.misses += 1
        refused = isinstance(error, BackendRefusedError)
        if refused and backend.misses == 1 and backend.last_seen is not None:
            backend.falls += 1  # nobody listens on its port: the process that held our prompts is gone
        if backend.misses == 1 and backend.online and not refused:
            return
        if backend.reason != error.message:
            log.warning("backend is offline: %s", error.message)
        was_online, backend.online, backend.reason = backend.online, False, error.message
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
                backend.client_id = uuid.uuid4().hex
                try:
                    async with backend.client.listen(backend.client_id) as messages:
                        backend.listening = True
                        async for message in messages:
                            pause = SOCKET_PAUSE[0]
                            self._hear(backend, message)
                    backend.falls += 1
                except BackendError as error:
                    log.debug("event stream ended: %s", error.message)
                    backend.falls += backend.listening
                finally:
                    backend.listening = False
                for reader in list(backend.readers.values()):
                    _offer(reader, None)
                await self._clock.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, SOCKET_PAUSE[1])

    def _hear(self, backend: Backend, message: Message) -> None:
        if isinstance(message, StatusChanged):
            backend.queue_remaining = message.queue_remaining
            return
        reader = backend.readers.get(message.prompt_id or "")
        if reader is not None:
            _offer(reader, message)


def _offer(reader: MemoryObjectSendStream[Message | None], message: Message | None) -> None:
    """A reader that does not keep up misses hints, never truth."""
    try:
        reader.send_nowait(message)
    except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


def _status(backend: Backend, prompts: int) -> Literal["idle", "busy", "offline", "disabled"]:
    if not backend.settings.enabled:
        return "disabled"
    if not backend.online:
        return "offline"
    return "busy" if prompts else "idle"


def _devices(devices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    shown = ("name", "type", "index", "vram_total", "vram_free")
    return [{key: device.get(key) for key in shown} for device in devices[:16]]
