"""Follow one prompt from the queue of its backend to its end.

Two sources together: the WebSocket says when to look, HTTP says what is true.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

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
from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.backends.progress import ProgressMeter
from orchestrator_mcp.domain.events import JobProgressed
from orchestrator_mcp.domain.jobs import Graph, Outcome, Stage
from orchestrator_mcp.domain.retry import Ended
from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.errors import BackendError
from orchestrator_mcp.scheduler.reconciler import CLEAN_LOOKS, Place, look
from orchestrator_mcp.scheduler.resources import Resources
from orchestrator_mcp.scheduler.stopping import stop_prompt, withdraw_prompt
from orchestrator_mcp.scheduler.verdicts import lost, stalled, unknown_outcome
from orchestrator_mcp.store import OpenAttempt

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 4  # polls of history for one look into the queue, which is heavy
AFTER_SUCCESS: Final = 0.05  # seconds: ComfyUI says success before it writes history
MOST_DECLARED: Final = 1_000  # outputs remembered from the WebSocket
DEAF_PATIENCE: Final = 4.0  # times stall_timeout for a render whose events go to a WebSocket that is no more


@dataclass(kw_only=True, eq=False)
class Wishes:
    """What somebody wants of a running attempt.

    Attributes:
        cancel: stop it, wherever it is.
        revoke: take it back, if it has not begun to render.
    """

    cancel: bool = False
    revoke: bool = False

    @property
    def any(self) -> bool:
        return self.cancel or self.revoke


@dataclass(kw_only=True, eq=False)
class Follower:
    """Watches one prompt.

    Attributes:
        prompt_id: under which the backend knows it.
        falls: `backend.falls` when it was sent.
        sent_as: the client id under which it was sent, to which its events go; empty if a process before this one
            sent it.
        stage: how far it is known to be.
        wishes: what somebody wants; looked at whenever the follower wakes.
    """

    resources: Resources
    backend: Backend
    held: OpenAttempt
    prompt_id: str
    graph: Graph
    falls: int
    sent_as: str
    wishes: Wishes
    stage: Stage = Stage.WAITING
    _declared: list[DeclaredOutput] = field(default_factory=list)
    _succeeded: bool = False
    _absent: int = 0
    _polls: int = 0
    _unreachable_since: float | None = None

    async def follow(self, messages: MemoryObjectReceiveStream[Message | None]) -> HistoryEntry | Ended:
        """Wait for the end of the prompt.

        Args:
            messages: what the backend says of it; None asks for a look at once.

        Returns:
            Its history, or how it ended without one.
        """
        clock, scheduling = self.resources.clock, self.resources.scheduling
        meter = ProgressMeter(self.graph)
        pause = scheduling.poll_interval
        next_poll = clock.monotonic()
        moved_at = clock.monotonic()
        while True:
            if self.wishes.any and (end := await self._grant()) is not None:
                return end
            message: Message | None = None
            heard = False
            with anyio.move_on_after(max(0.0, next_poll - clock.monotonic())):
                message = await messages.receive()
                heard = True
            if message is not None:
                moved_at = clock.monotonic()
                next_poll = min(next_poll, await self._hear(message, meter, next_poll))
                continue
            if heard and self.wishes.any:
                continue
            if (end := await self._poll()) is not None:
                return end
            if self.stage is Stage.RENDERING and (quiet := clock.monotonic() - moved_at) > self._stall_patience():
                return await self._give_up_stalled(quiet)
            next_poll = clock.monotonic() + pause
            pause = min(pause * 1.5, scheduling.poll_interval_max)

    async def _hear(self, message: Message, meter: ProgressMeter, next_poll: float) -> float:
        """Take in a hint; when to poll next because of it."""
        now = self.resources.clock.monotonic()
        match message:
            case PromptFinished() | PromptFailed() | PromptInterrupted():
                return now
            case PromptSucceeded():
                self._succeeded = True
                return now + AFTER_SUCCESS
            case NodeFinished() if len(self._declared) < MOST_DECLARED:
                self._declared.extend(message.outputs)
        if isinstance(
            message, (PromptStarted, NodesCached, NodeStarted, NodeProgressed, GraphProgressed, NodeFinished)
        ):
            await self._enter_rendering()
            progress = meter.update(message)
            self.resources.events.publish(
                JobProgressed(
                    job_id=self.held.job_id,
                    fraction=progress.fraction,
                    node=progress.node,
                    value=progress.value,
                    maximum=progress.maximum,
                )
            )
        return next_poll

    async def _enter_rendering(self) -> None:
        if self.stage is Stage.RENDERING:
            return
        self.stage = Stage.RENDERING
        await self.resources.persist(
            lambda: self.resources.store.advance(self.held, Stage.RENDERING, self.resources.clock.now())
        )
        self.resources.at_step(Step.RENDERING)

    async def _poll(self) -> HistoryEntry | Ended | None:
        """Ask for the truth. None: it goes on."""
        self._polls += 1
        fell = self.backend.falls != self.falls
        try:
            entry = await self.backend.client.history(self.prompt_id)
            if entry is not None:
                return entry
            if fell or self._succeeded or not self.backend.listening or self._polls % LOOK_EVERY == 0:
                return await self._look(fell)
        except BackendError as error:
            return self._unreachable(error)
        self._unreachable_since = None
        return None

    async def _look(self, fell: bool) -> HistoryEntry | Ended | None:
        sighting = await look(self.backend, self.prompt_id)
        self._unreachable_since = None
        if sighting.place is Place.ENDED:
            return sighting.entry
        if sighting.place is Place.RUNNING:
            await self._enter_rendering()
        self._absent = self._absent + 1 if sighting.place is Place.ABSENT else 0
        if self._absent < CLEAN_LOOKS:
            return None
        if self._succeeded:
            return self._from_hints()
        if fell:
            return lost(f"{self.backend.id} restarted and no longer knows the prompt")
        return Ended(
            outcome=Outcome.LOST, reason=f"somebody removed the prompt from the queue or history of {self.backend.id}"
        )

    def _from_hints(self) -> HistoryEntry | Ended:
        """It succeeded, and its history is gone: what the WebSocket told of its outputs must do."""
        if self._declared:
            return HistoryEntry(prompt_id=self.prompt_id, verdict="succeeded", outputs=tuple(self._declared))
        return unknown_outcome(f"{self.backend.id} said that the render succeeded, and has forgotten its outputs")

    def _unreachable(self, error: BackendError) -> Ended | None:
        now = self.resources.clock.monotonic()
        self.backend.distrust()
        if self._unreachable_since is None:
            self._unreachable_since = now
            log.warning("backend does not answer: %s", error.message)
        patience = self.resources.scheduling.lost_after
        if now - self._unreachable_since <= patience:
            return None
        return lost(f"{self.backend.id} could not be reached for {patience:g} s")

    async def _grant(self) -> HistoryEntry | Ended | None:
        """Do what is wanted, and prove it by looking. None: it renders already and goes on."""
        clock, patience = self.resources.clock, self.resources.scheduling.lost_after
        if self.wishes.cancel:
            sighting = await stop_prompt(self.backend, self.prompt_id, clock=clock, patience=patience)
            return sighting.entry or Ended(outcome=Outcome.CANCELLED, reason="cancelled on request")
        withdrawn = await withdraw_prompt(self.backend, self.prompt_id, clock=clock)
        self.wishes.revoke = False
        if withdrawn:
            return Ended(outcome=Outcome.REVOKED, reason="taken back for a backend that is idle")
        return None

    def _stall_patience(self) -> float:
        """How long silence may last, in seconds; nothing is heard of a render whose owner's WebSocket has gone."""
        hears = self.backend.listening and self.backend.client_id == self.sent_as
        return self.resources.scheduling.stall_timeout * (1.0 if hears else DEAF_PATIENCE)

    async def _give_up_stalled(self, seconds: float) -> HistoryEntry | Ended:
        log.warning("no progress for %g s; stopping the render", seconds)
        sighting = await stop_prompt(
            self.backend, self.prompt_id, clock=self.resources.clock, patience=self.resources.scheduling.lost_after
        )
        if sighting.entry is not None and sighting.entry.verdict == "succeeded":
            return sighting.entry
        return stalled(self.backend.id, seconds)
