"""What the service works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.steps import AtStep, no_step
from orchestrator_mcp.events import Events
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import JobStore
from orchestrator_mcp.workflows.library import WorkflowLibrary


@dataclass(frozen=True, kw_only=True)
class ServiceParts:
    """Everything that the service needs, built once by the composition.

    Attributes:
        store: where jobs live.
        pool: the backends.
        library: the named workflows.
        artifacts: the output files.
        events: hints that something changed.
        clock: the time.
        settings: the configuration.
        running: attempts that have a slot of each backend now.
        version: of the program.
        at_step: see `domain.steps`.
    """

    store: JobStore
    pool: BackendPool
    library: WorkflowLibrary
    artifacts: ArtifactStore
    events: Events
    clock: Clock
    settings: CurrentSettings
    running: Callable[[], Mapping[str, int]]
    version: str
    at_step: AtStep = no_step
