"""What every runner works with."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.steps import AtStep, no_step
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.events import Events
from orchestrator_mcp.machine.marks import Marks
from orchestrator_mcp.scheduler.right_of_way import RightOfWay
from orchestrator_mcp.settings import CurrentSettings, LimitSettings, SchedulingSettings
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_PAUSE: Final = 5.0  # seconds between two tries to store something that must not be lost


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything that dispatching needs, built once by the app.

    Attributes:
        marks: of what was posted, for the process after this one.
        instance: this orchestrator, as its prompts name it.
        at_step: called after each step of a job's way; a chaos run gives one that kills.
        right_of_way: who goes first when many renders end at once.
    """

    store: JobStore
    pool: BackendPool
    artifacts: ArtifactStore
    events: Events
    clock: Clock
    settings: CurrentSettings
    marks: Marks
    instance: str
    at_step: AtStep = no_step
    right_of_way: RightOfWay = field(default_factory=RightOfWay)

    @property
    def scheduling(self) -> SchedulingSettings:
        """Times and counts, as they are configured now."""
        return self.settings.now.scheduling

    @property
    def limits(self) -> LimitSettings:
        """What is too much, as it is configured now."""
        return self.settings.now.limits

    async def persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Store something that must not be lost: try again for as long as the disk refuses.

        Raises:
            LeaseLostError: the attempt is no longer ours.
        """
        while True:
            try:
                return await write()
            except StorageError as error:
                log.error("cannot store now, trying again: %s", error)
                await self.clock.sleep(min(error.retry_after, LONGEST_PAUSE))
