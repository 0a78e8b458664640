"""Follow one prompt from the queue of its backend to its end.

Two sources together: the WebSocket says when to look, HTTP says what is true.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from orchestrator_mcp.backends.hearsay import Hearsay
from orchestrator_mcp.backends.history import DeclaredOutput, HistoryEntry
from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    Message,
    NodeFinished,
    NodeProgressed,
    NodesCached,
    NodeStarted,
    PromptFailed,
    PromptFinished,
    PromptInterrupted,
    PromptStarted,
    PromptSucceeded,
)
from orchestrator_mcp.backends.node_times import NodeTimes
from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.backends.progress import Progress, ProgressMeter
from orchestrator_mcp.domain.events import JobProgressed
from orchestrator_mcp.domain.jobs import Graph, Outcome, Stage, attempt_name
from orchestrator_mcp.domain.retry import Ended
from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.errors import AnswerTooLargeError, BackendError
from orchestrator_mcp.scheduler import health
from orchestrator_mcp.scheduler.reconciler import CLEAN_LOOKS, Place, Sighting, lived_on, look
from orchestrator_mcp.scheduler.resources import Resources
from orchestrator_mcp.scheduler.stages import Stages
from orchestrator_mcp.scheduler.stopping import stop_prompt, withdraw_prompt
from orchestrator_mcp.scheduler.verdicts import lost, stalled, too_large, unknown_outcome
from orchestrator_mcp.scheduler.wishes import Wishes
from orchestrator_mcp.store import OpenAttempt

log = logging.getLogger(__name__)

MOST_POLLS: Final = 100  # of all renders whose events arrive, each second: what is heard of need not be asked for
LOOK_EVERY: Final = 4  # polls of history for one look into the queue, which is heavy
AFTER_SUCCESS: Final = 0.05  # seconds: ComfyUI says success before it writes history
MOST_DECLARED: Final = 1_000  # outputs remembered from the WebSocket
BEGUN_SUSPECT: Final = 2.0  # times zombie_after for a render that said it began and did nothing since
BEGUN_STALLED: Final = 4.0  # the same until it is given up
DEAF_PATIENCE: Final = 4.0  # times stall_timeout for a render whose events go to a WebSocket that is no more


@dataclass(kw_only=True, eq=False)
class Follower:
    """Watches one prompt.

    Attributes:
        prompt_id: under which the backend knows it.
        falls: `backend.falls` when it was sent.
        canary: `backend.canary` when it was sent, or when it was adopted.
        sent_as: the client id under which it was sent, to which its events go; empty if a process before this one
            sent it.
        marker: what we wrote beside it.
        stage: how far it is known to be.
        stages: puts on record that it renders.
        succeeded: called when the backend says that the render succeeded, with what it said of it; its history, the
            proof, is written a moment later.
        wishes: what somebody wants; looked at whenever the follower wakes.
    """

    resources: Resources
    backend: Backend
    held: OpenAttempt
    prompt_id: str
    graph: Graph
    falls: int
    canary: str | None
    sent_as: str
    marker: dict[str, Any]
    wishes: Wishes
    stages: Stages
    succeeded: Callable[[HistoryEntry], None]
    stage: Stage = Stage.WAITING
    frames: int = field(init=False)
    _declared: list[DeclaredOutput] = field(default_factory=list)
    _succeeded: bool = False
    _end_heard: bool = False
    _started_at_ms: int | None = None
    _absent: int = 0
    _polls: int = 0
    _silences: int = 0
    _hearsay: Hearsay = field(default_factory=Hearsay)
    nodes: NodeTimes = field(init=False)
    _unreachable_since: float | None = None
    _idle_since: float | None = None
    _just_begun: bool = False
    _moved_at: float = 0.0
    _progress: Progress | None = None  # not told yet

    def __post_init__(self) -> None:
        self.frames = self.backend.frames
        self.nodes = NodeTimes(self.graph)
        self._moved_at = self.resources.clock.monotonic()

    def node_timings(self, messages: MemoryObjectReceiveStream[Message | None]) -> dict[str, float]:
        """Seconds that each node ran; empty unless everything that the backend told of the prompt was heard.

        Args:
            messages: what came while the end was found in the history.
        """
        with suppress(anyio.WouldBlock, anyio.EndOfStream):
            while not self.nodes.over:
                if (message := messages.receive_nowait()) is not None:
                    self.nodes.hear(message, self.resources.clock.monotonic())
        return self.nodes.seconds if self.nodes.over and self._hears else {}

    @property
    def _hears(self) -> bool:
        """Whether the prompt's events have come to us without a gap since it was sent."""
        return self.backend.listening and self.backend.client_id == self.sent_as

    async def follow(self, messages: MemoryObjectReceiveStream[Message | None]) -> HistoryEntry | Ended:
        """Wait for the end of the prompt.

        Args:
            messages: what the backend says of it; None asks for a look at once.

        Returns:
            Its history, or how it ended without one.
        """
        end = await self._end_of(messages)
        return self._hearsay.weighed(end, whole=self._hears) if isinstance(end, HistoryEntry) else end

    async def _end_of(self, messages: MemoryObjectReceiveStream[Message | None]) -> HistoryEntry | Ended:
        clock, scheduling = self.resources.clock, self.resources.scheduling
        meter = ProgressMeter(self.graph)
        pause = scheduling.poll_interval
        next_poll = clock.monotonic() + (self._spared(pause) if self._hears else 0.0)
        while True:
            if self.wishes.any and (end := await self._grant()) is not None:
                return end
            heard, message = await self._next(messages, next_poll)
            if message is not None:
                self._moved_at = clock.monotonic()
                next_poll = min(next_poll, self._hear(message, meter, next_poll))
                continue
            if heard and self.wishes.any:
                continue
            if (end := await self._poll()) is not None:
                if self.stage is Stage.WAITING and isinstance(end, HistoryEntry):
                    self._enter_rendering()  # it has, although nothing was heard of it
                return end
            if self.stage is Stage.RENDERING and (end := await self._look_for_stall()) is not None:
                return end
            next_poll = clock.monotonic() + self._spared(pause)
            pause = min(pause * 1.5, scheduling.poll_interval_max)

    def _spared(self, pause: float) -> float:
        """The pause before a poll: longer beside many other renders, unless the end was heard of, or nothing is."""
        if self._end_heard or not self._hears:
            return pause
        return max(pause, self.resources.pool.attempts / MOST_POLLS)

    async def _next(
        self, messages: MemoryObjectReceiveStream[Message | None], until: float
    ) -> tuple[bool, Message | None]:
        """What comes next: whether anything did until a moment, and the message, if it was one.

        Messages come in bursts; of a burst only the last progress is told.
        """
        with suppress(anyio.WouldBlock):
            return True, messages.receive_nowait()
        self._tell_progress()
        with anyio.move_on_after(max(0.0, until - self.resources.clock.monotonic())):
            return True, await messages.receive()
        return False, None

    def _tell_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is None:
            return
        self.resources.events.publish(
            JobProgressed(
                job_id=self.held.job_id,
                fraction=progress.fraction,
                node=progress.node,
                value=progress.value,
                maximum=progress.maximum,
            )
        )

    def _hear(self, message: Message, meter: ProgressMeter, next_poll: float) -> float:
        """Take in a hint; when to poll next because of it."""
        now = self.resources.clock.monotonic()
        self._just_begun = isinstance(message, PromptStarted)
        self.nodes.hear(message, now)
        self._hearsay.hear(message)
        match message:
            case PromptFinished() | PromptFailed() | PromptInterrupted():
                self._end_heard = True
                return now
            case PromptStarted():
                self._started_at_ms = message.at_ms
            case PromptSucceeded():
                self._succeeded = self._end_heard = True
                self._tell_of_success(message)
                return now + AFTER_SUCCESS
            case NodeFinished() if len(self._declared) < MOST_DECLARED:
                self._declared.extend(message.outputs)
        if isinstance(
            message, (PromptStarted, NodesCached, NodeStarted, NodeProgressed, GraphProgressed, NodeFinished)
        ):
            self._enter_rendering()
            self._progress = meter.update(message)
        return next_poll

    def _tell_of_success(self, message: PromptSucceeded) -> None:
        if self._hears:
            said = HistoryEntry(
                prompt_id=self.prompt_id,
                verdict="succeeded",
                started_at_ms=self._started_at_ms,
                ended_at_ms=message.at_ms,
                cached_nodes=self.nodes.cached,
            )
            self.succeeded(said)

    def _enter_rendering(self) -> None:
        if self.stage is Stage.RENDERING:
            return
        self.stage = Stage.RENDERING
        name = attempt_name(self.held.job_id, self.held.number)
        self.resources.pool.foresight.began(name, self.held.backend_id)
        self.stages.enter(Stage.RENDERING, Step.RENDERING)

    async def _poll(self) -> HistoryEntry | Ended | None:
        """Ask for the truth. None: it goes on."""
        self._polls += 1
        await self.resources.right_of_way.to_fetch()
        fell = self.backend.falls != self.falls
        try:
            entry = await self.backend.client.history(self.prompt_id)
            if entry is not None:
                return None if self._may_hear_more(entry) else entry
            if fell or self._succeeded or not self.backend.listening or self._polls % LOOK_EVERY == 0:
                return await self._look(fell)
        except AnswerTooLargeError as error:
            return too_large(error) if "/history" in error.message else None  # a huge queue of others does no harm
        except BackendError as error:
            return self._unreachable(error)
        self._reached()
        return None

    def _may_hear_more(self, entry: HistoryEntry) -> bool:
        """Its history leaves open how it ended, and the events that tell may still be on their way."""
        if not entry.silent or entry.verdict != "unclear" or self._hearsay.over or not self._hears:
            return False
        self._silences += 1
        return self._silences <= CLEAN_LOOKS

    async def _look(self, fell: bool) -> HistoryEntry | Ended | None:
        sighting = await look(self.backend, self.prompt_id)
        self._reached()
        if sighting.place is Place.ENDED:
            return sighting.entry
        if sighting.place is Place.RUNNING:
            self._enter_rendering()
        if (end := await self._look_for_dead_worker(sighting)) is not None:
            return end
        self._absent = self._absent + 1 if sighting.place is Place.ABSENT else 0
        return None if self._absent < CLEAN_LOOKS else await self._vanished(fell)

    async def _vanished(self, fell: bool) -> HistoryEntry | Ended:
        """It is neither queued nor in history. Only a prompt that cannot have rendered is sent again unasked."""
        if self._succeeded:
            return self._from_hints()
        unbroken = self._hears and not fell
        if unbroken and self.stage is Stage.WAITING and self.backend.frames > self.frames:
            reason = f"somebody removed the prompt from the queue of {self.backend.id} before it began"
            return Ended(outcome=Outcome.LOST, reason=reason)
        if unbroken or await lived_on(self.backend, self.canary):
            return unknown_outcome(f"{self.backend.id} no longer knows the prompt, and it did not restart")
        return lost(f"{self.backend.id} restarted and no longer knows the prompt")

    async def _look_for_dead_worker(self, sighting: Sighting) -> Ended | None:
        """A server whose worker thread died takes prompts and runs none; ours is taken back, and that is proven."""
        now, patience = self.resources.clock.monotonic(), self.resources.scheduling.zombie_after
        if sighting.place is not Place.PENDING or not sighting.nothing_runs:
            self._idle_since = None
            return None
        self._idle_since = now if self._idle_since is None else self._idle_since
        if now - self._idle_since < patience:
            return None
        reason = f"{self.backend.id} holds prompts and has run none for {patience:g} s"
        health.suspect(self.resources, self.backend, reason)
        self._idle_since = None
        if not await self._withdraw():
            return None
        return Ended(outcome=Outcome.REVOKED, reason=f"{reason}; taken back before it began")

    async def _withdraw(self) -> bool:
        withdrawn = await withdraw_prompt(self.backend, self.prompt_id, clock=self.resources.clock)
        if withdrawn:
            self.resources.at_step(Step.WITHDRAWN)
        return withdrawn

    def _from_hints(self) -> HistoryEntry | Ended:
        """It succeeded, and its history is gone: what the WebSocket told of its outputs must do."""
        if self._declared:
            return HistoryEntry(prompt_id=self.prompt_id, verdict="succeeded", outputs=tuple(self._declared))
        return unknown_outcome(f"{self.backend.id} said that the render succeeded, and has forgotten its outputs")

    def _reached(self) -> None:
        """It answers; one that did not is looked at again at once, or it would get nothing new until its next look."""
        if self._unreachable_since is not None:
            self._unreachable_since = None
            self.backend.distrust()

    def _unreachable(self, error: BackendError) -> Ended | None:
        now = self.resources.clock.monotonic()
        self.backend.distrust()
        if self._unreachable_since is None:
            self._unreachable_since = now
            log.warning("backend does not answer: %s", error.message)
        patience = self.resources.scheduling.lost_after
        if now - self._unreachable_since <= patience:
            return None
        health.abandon(self.backend, self.prompt_id, self.marker)
        return lost(f"{self.backend.id} could not be reached for {patience:g} s")

    async def _grant(self) -> HistoryEntry | Ended | None:
        """Do what is wanted, and prove it by looking. None: it renders already and goes on."""
        if self.wishes.cancel:
            sighting = await self._stop(self.resources.scheduling.interrupt_patience)
            if sighting.place in (Place.PENDING, Place.RUNNING):
                await self._escalate()
                sighting = await self._stop(None)
            if sighting.place is Place.UNSEEN:
                health.abandon(self.backend, self.prompt_id, self.marker)
            return sighting.entry or Ended(outcome=Outcome.CANCELLED, reason="cancelled on request")
        withdrawn = await self._withdraw()
        self.wishes.revoke = False
        if withdrawn:
            return Ended(outcome=Outcome.REVOKED, reason=self.wishes.why)
        return None

    async def _stop(self, insist: float | None) -> Sighting:
        clock, patience = self.resources.clock, self.resources.scheduling.lost_after
        return await stop_prompt(self.backend, self.prompt_id, clock=clock, patience=patience, insist=insist)

    async def _escalate(self) -> None:
        """It was told to stop and goes on: the job says so, and a backend that should have obeyed gets nothing new."""
        if self.backend.client.stops_by_id:
            words = f"{self.backend.id} goes on with the render although it was told to stop; it is asked again"
            health.suspect(self.resources, self.backend, "it goes on with a render that was cancelled")
        else:
            words = f"{self.backend.id} is too old to be told which render to stop; the job ends with its render"
        await self.resources.persist(lambda: self.resources.store.warn(self.held, words, self.resources.clock.now()))

    async def _look_for_stall(self) -> HistoryEntry | Ended | None:
        scheduling = self.resources.scheduling
        quiet = self.resources.clock.monotonic() - self._moved_at
        if self._just_begun and self._hears:
            if quiet > scheduling.zombie_after * BEGUN_SUSPECT:
                health.suspect(self.resources, self.backend, "a render began there and has done nothing since")
            patience = min(scheduling.zombie_after * BEGUN_STALLED, scheduling.stall_timeout)
        else:
            patience = scheduling.stall_timeout * (1.0 if self._hears else DEAF_PATIENCE)
        return await self._give_up_stalled(quiet) if quiet > patience else None

    async def _give_up_stalled(self, seconds: float) -> HistoryEntry | Ended:
        log.warning("no progress for %.0f s; stopping the render", seconds)
        sighting = await self._stop(self.resources.scheduling.interrupt_patience)
        if sighting.entry is not None and sighting.entry.verdict == "succeeded":
            return sighting.entry
        if sighting.place in (Place.ENDED, Place.ABSENT):
            return stalled(self.backend.id, seconds)
        health.suspect(self.resources, self.backend, "it does not stop a render that stalled")
        health.abandon(self.backend, self.prompt_id, self.marker)
        return stalled(self.backend.id, seconds, obeyed=False)
