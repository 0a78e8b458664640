"""Builds what a manifest passes on its way in, and what its parts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.steps import AtStep
from orchestrator_mcp.service.batch_submission import BatchSubmissions
from orchestrator_mcp.service.condition import Condition
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.inputs import InputFiles
from orchestrator_mcp.service.preflight import Preflight
from orchestrator_mcp.service.reruns import Reruns
from orchestrator_mcp.service.submission import Submissions
from orchestrator_mcp.service.trying_out import DryRuns
from orchestrator_mcp.service.workflows import WorkflowReader
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import JobStore
from orchestrator_mcp.workflows.library import WorkflowLibrary


@dataclass(frozen=True, kw_only=True)
class WayIn:
    """What takes manifests in.

    Attributes:
        gate: how much one caller may ask for.
        condition: whether anything may be accepted now.
        inputs: the files that renders begin with.
        jobs: takes in one job.
        batches: takes in many at once.
        dry_runs: tries one without storing it.
    """

    gate: Gate
    condition: Condition
    inputs: InputFiles
    jobs: Submissions
    batches: BatchSubmissions
    dry_runs: DryRuns


def way_in(
    *,
    store: JobStore,
    pool: BackendPool,
    library: WorkflowLibrary,
    artifacts: ArtifactStore,
    clock: Clock,
    settings: CurrentSettings,
    running: Callable[[], Mapping[str, int]],
    at_step: AtStep,
) -> WayIn:
    """Build it; the arguments are those of `JobService`."""
    gate, condition = Gate(settings, clock), Condition(store)
    inputs = InputFiles(store=store, artifacts=artifacts, settings=settings, clock=clock)
    preflight = Preflight(pool=pool, settings=settings, running=running)
    jobs = Submissions(
        store=store,
        pool=pool,
        workflows=WorkflowReader(library, settings, pool),
        inputs=inputs,
        reruns=Reruns(store, library),
        settings=settings,
        clock=clock,
        gate=gate,
        condition=condition,
        preflight=preflight,
        at_step=at_step,
    )
    batches = BatchSubmissions(
        submissions=jobs,
        store=store,
        inputs=inputs,
        settings=settings,
        gate=gate,
        condition=condition,
        preflight=preflight,
        at_step=at_step,
    )
    dry_runs = DryRuns(submissions=jobs, preflight=preflight, gate=gate)
    return WayIn(gate=gate, condition=condition, inputs=inputs, jobs=jobs, batches=batches, dry_runs=dry_runs)
