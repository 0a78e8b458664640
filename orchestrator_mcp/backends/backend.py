"""One ComfyUI server as it is now: what is known of it, and who hears its messages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from orchestrator_mcp.backends.breaker import Breaker
from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.hours import HoursNow, hours_at
from orchestrator_mcp.backends.input_folder import InputFolder
from orchestrator_mcp.backends.messages import Message, PreviewReceived, StatusChanged, TextReceived
from orchestrator_mcp.backends.queues import BackendStats
from orchestrator_mcp.backends.sharing import Sharing
from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.domain.situation import Candidate, LastRender
from orchestrator_mcp.domain.wishes import Wish, WishKind
from orchestrator_mcp.settings import BackendSettings, Settings

MESSAGES_WAITING: Final = 256
MOST_FRAME_BYTES: Final = 2 * 2**20  # of a preview frame that is kept
NOT_YET: Final = "it has not answered yet"
MISSES_FOR_RARER: Final = 10  # looks in vain, after which they are half as frequent
RAREST: Final = 5.0
DEAF_AFTER: Final = 2.0  # seconds for which HTTP shows another queue than the WebSocket told


def new_client_id() -> str:
    """A name for our next WebSocket. Prompts are never sent without one: ComfyUI would tell everybody of them."""
    return uuid.uuid4().hex


@dataclass(kw_only=True, eq=False)
class Backend:
    """One ComfyUI server as it is now. Changed on the event loop only.

    Attributes:
        client_id: names our WebSocket of this moment; a new connection takes a new one, because a server that drops
            an old socket late also forgets the new one of the same name (ComfyUI issue 16010).
        falls: how often it was seen to go down, or cut its WebSocket: what it held before may be gone.
        deaths: how often nobody listened there any more: then what it held is gone for sure.
        epoch: the lease under which we dispatch to it.
        attempts: how many runners work with it, from their claim to their end.
        breaker: whether it is well enough for new jobs.
        abandoned: our prompts that it may still hold and nobody waits for, with their markers.
        canary: the last prompt of ours that ended there; its history is gone when the server restarted.
        left: what it rendered last before our start, until it was asked whether that is still so.
        number: the highest place in its queue that it gave us; it falls when the server restarted.
        frames: how many status frames came over WebSockets.
        forgets: how often its catalogue was given up; a look that began before counts as old.
        ear: cancelled to have a new WebSocket made.
        draining: it left the configuration, and goes when no runner needs it.
        family: the models of the last job that was sent there.
        wish: what an operator wants of it.
        sharing: what others have in its queue.
        clock: the time.
        looked: set once it has been looked at, whatever came of it.
        inputs: what of ours lies in its input folder.
        snapshot: what placement was told of it last, and what it was like then.
        clients: open connections, those before a change of the configuration too: they may be in use.
    """

    settings: BackendSettings
    client: ComfyClient
    epoch: int = 0
    attempts: int = 0
    draining: bool = False
    family: str = ""
    wish: Wish | None = None
    sharing: Sharing = field(default_factory=Sharing)
    clock: Clock = field(default_factory=SystemClock)
    breaker: Breaker = field(default_factory=Breaker)
    abandoned: dict[str, dict[str, Any]] = field(default_factory=dict)
    canary: str | None = None
    left: LastRender | None = None
    number: float = -1.0
    frames: int = 0
    ear: anyio.CancelScope | None = None
    clients: AsyncExitStack = field(default_factory=AsyncExitStack)
    tasks: anyio.CancelScope | None = None
    online: bool = False
    reason: str | None = NOT_YET
    misses: int = 0
    falls: int = 0
    deaths: int = 0
    client_id: str = field(default_factory=new_client_id)
    listening: bool = False
    queue_remaining: int = 0
    last_seen: datetime | None = None
    stats: BackendStats | None = None
    catalogue: NodeCatalogue | None = None
    catalogue_at: float = 0.0
    forgets: int = 0
    warm: str = ""
    wake: anyio.Event = field(default_factory=anyio.Event)
    came_online: anyio.Event = field(default_factory=anyio.Event)
    looked: anyio.Event = field(default_factory=anyio.Event)
    inputs: InputFolder = field(default_factory=InputFolder)
    snapshot: tuple[tuple[object, ...], Candidate] | None = None
    readers: dict[str, MemoryObjectSendStream[Message | None]] = field(default_factory=dict)
    _previews: dict[str, PreviewReceived] = field(default_factory=dict)
    _speaks_of: str = ""  # the prompt of the last message; where a frame does not say whose it is, it is of that
    _hours: HoursNow | None = None
    _told_remaining: int | None = None
    _doubted: tuple[int, float] | None = None

    @property
    def id(self) -> str:
        return self.settings.id

    @property
    def unavailable(self) -> str | None:
        """Why it takes no job now, or None."""
        if self.draining:
            return "it left the configuration and ends what it has"
        if not self.settings.enabled:
            return "it is disabled in the configuration"
        if self.wish is not None:
            return self.wish.words
        if self.settings.paused:
            return "it is paused in the configuration"
        if (closed := self.closed) is not None:
            return closed
        if not self.online:
            return f"it is offline: {self.reason}"
        return f"it is suspect: {self.breaker.reason}" if self.breaker.open else None

    @property
    def condition(self) -> tuple[object, ...]:
        """All that placement must be told anew of when it is no longer the same."""
        return (
            self.settings,
            self.draining,
            self.wish,
            self._hours,
            self.online,
            self.reason,
            self.breaker.reason,
            self.breaker.trial,
            self.sharing.foreign,
            self.catalogue,
            self.warm,
            self.epoch,
        )

    @property
    def rarer(self) -> float:
        """How many times as long one waits before the next look at it: what stays away is asked less often."""
        return min(1 + self.misses / MISSES_FOR_RARER, RAREST)

    @property
    def enabled(self) -> bool:
        """Whether it is part of the farm: neither the configuration nor an operator has disabled it."""
        return self.settings.enabled and (self.wish is None or self.wish.kind is not WishKind.DISABLED)

    @property
    def closed(self) -> str | None:
        """Until when it is outside of its opening hours, in words; None when it is open. As of the last look."""
        if self._hours is None or self._hours.available != self.settings.available:
            self.opened_or_closed()
        return self._hours.closed if self._hours is not None else None

    @property
    def opens_at(self) -> datetime | None:
        """When it opens again; None while it is open, or when that is not in sight."""
        return self._hours.until if self.closed is not None and self._hours is not None else None

    def opened_or_closed(self) -> bool:
        """Look at the clock; whether its opening hours have begun or ended since that was done last."""
        before, now, available = self._hours, self.clock.now(), self.settings.available
        if before is None or before.available != available or not before.holds(now):
            self._hours = hours_at(available, now.replace(second=0, microsecond=0))
        return before is not None and self._hours is not None and bool(before.closed) != bool(self._hours.closed)

    @property
    def gives_back(self) -> bool:
        """Whether what stands by there is to go elsewhere."""
        if self.wish is not None and self.wish.kind is not WishKind.PAUSED:
            return True
        return self.closed is not None

    @property
    def own_prompts(self) -> set[str]:
        """Prompts in its queue that are ours, as far as they are there: all that we follow or gave up."""
        return {*self.readers, *self.abandoned}

    @property
    def most_own(self) -> int:
        """How many they are at the most: a server that draws its own ids knows one prompt under two."""
        return len(set(map(id, self.readers.values()))) + len(self.abandoned)

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
                self._previews.pop(known, None)

    def also_known_as(self, prompt_id: str, drawn: str) -> None:
        """A server too old to take our prompt id drew its own: its messages come under that."""
        self.readers[drawn] = self.readers[prompt_id]

    def distrust(self) -> None:
        """Have it looked at again at once."""
        self.wake.set()

    def numbered(self, number: float) -> bool:
        """It gave a prompt this place in its queue. Whether that tells of a restart: it is lower than before."""
        restarted = number < self.number
        self.falls += restarted
        self.number = number
        return restarted

    def begin_to_listen(self) -> None:
        """A WebSocket stands; what the one before told counts no more."""
        self.listening = True
        self._told_remaining = self._doubted = None
        self._speaks_of = ""

    def seems_deaf(self, remaining: int, now: float) -> bool:
        """Whether the WebSocket has gone silent: the queue is another than it told, and it tells nothing new.

        ComfyUI forgets a socket when an older one of the same client is closed late; it stays open and answers pings.

        Args:
            remaining: prompts in the queue, by HTTP.
            now: monotonic seconds.
        """
        if not self.listening or self._told_remaining in (None, remaining):
            self._doubted = None
            return False
        if self._doubted is None or self._doubted[0] != self.frames:
            self._doubted = (self.frames, now)
        return now - self._doubted[1] >= DEAF_AFTER

    def listen_anew(self) -> None:
        """Have another WebSocket made."""
        if self.ear is not None:
            self.ear.cancel()

    def forget_catalogue(self) -> None:
        """Ask for its nodes and models again: it may have others now."""
        self.catalogue_at = float("-inf")
        self.forgets += 1
        self.wake.set()

    def rest(self) -> None:
        """Look at it and listen to it no more."""
        if self.tasks is None:
            return
        self.tasks.cancel()
        self.tasks = None
        self.online, self.reason, self.stats = False, NOT_YET, None
        self.catalogue_at = float("-inf")
        self.came_online = anyio.Event()

    def hear(self, message: Message) -> None:
        """Hand a message to whoever follows its prompt."""
        if isinstance(message, StatusChanged):
            self.queue_remaining = self._told_remaining = message.queue_remaining
            self.frames += 1
            return
        prompt_id = message.prompt_id or ""
        if isinstance(message, PreviewReceived):
            prompt_id = prompt_id or self._speaks_of
        elif not isinstance(message, TextReceived):
            self._speaks_of = prompt_id
        reader = self.readers.get(prompt_id)
        if reader is None:
            return
        if isinstance(message, PreviewReceived):
            self._keep(prompt_id, message)
            message = replace(message, image=b"")  # its follower needs to know that the render lives, and no more
        _offer(reader, message)

    def preview(self, prompt_id: str) -> PreviewReceived | None:
        """The newest picture that it sent of a render which goes on; only that one is kept.

        Args:
            prompt_id: of the render.
        """
        return self._previews.get(prompt_id)

    def _keep(self, prompt_id: str, preview: PreviewReceived) -> None:
        if len(preview.image) <= MOST_FRAME_BYTES:
            self._previews[prompt_id] = preview

    def tell_of_a_gap(self) -> None:
        """The WebSocket broke: whoever listens may have missed something."""
        for reader in list(self.readers.values()):
            _offer(reader, None)


def _offer(reader: MemoryObjectSendStream[Message | None], message: Message | None) -> None:
    """A reader that does not keep up misses hints, never truth."""
    try:
        reader.send_nowait(message)
    except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


def client_for(entry: BackendSettings, settings: Settings) -> ComfyClient:
    """A client that is not open yet.

    Args:
        entry: the backend.
        settings: time-outs and sizes.
    """
    return ComfyClient(entry, scheduling=settings.scheduling, limits=settings.limits)


def needs_new_client(old: BackendSettings, new: BackendSettings, before: Settings, after: Settings) -> bool:
    """Whether a client that was made for one configuration does not do for the other.

    Args:
        old: the backend as it was; its address is that of `new`.
        new: as it is to be.
        before: the configuration that held.
        after: the one that is to hold.
    """
    return old.headers != new.headers or (before.scheduling, before.limits) != (after.scheduling, after.limits)
