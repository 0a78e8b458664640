"""Builds what a manifest passes on its way in, and what its parts share."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_mcp.service.batch_submission import BatchSubmissions
from orchestrator_mcp.service.condition import Condition
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.inputs import InputFiles
from orchestrator_mcp.service.parts import ServiceParts
from orchestrator_mcp.service.preflight import Preflight
from orchestrator_mcp.service.reruns import Reruns
from orchestrator_mcp.service.submission import Submissions
from orchestrator_mcp.service.trying_out import DryRuns
from orchestrator_mcp.service.workflows import WorkflowReader


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


def way_in(parts: ServiceParts) -> WayIn:
    """Build it."""
    store, settings = parts.store, parts.settings
    gate, condition = Gate(settings, parts.clock), Condition(store)
    inputs = InputFiles(store=store, artifacts=parts.artifacts, settings=settings, clock=parts.clock)
    preflight = Preflight(pool=parts.pool, settings=settings, running=parts.running)
    jobs = Submissions(
        store=store,
        pool=parts.pool,
        workflows=WorkflowReader(parts.library, settings, parts.pool),
        inputs=inputs,
        reruns=Reruns(store, parts.library),
        settings=settings,
        clock=parts.clock,
        gate=gate,
        condition=condition,
        preflight=preflight,
        at_step=parts.at_step,
    )
    batches = BatchSubmissions(
        submissions=jobs,
        store=store,
        inputs=inputs,
        settings=settings,
        gate=gate,
        condition=condition,
        preflight=preflight,
        at_step=parts.at_step,
    )
    dry_runs = DryRuns(submissions=jobs, preflight=preflight, gate=gate)
    return WayIn(gate=gate, condition=condition, inputs=inputs, jobs=jobs, batches=batches, dry_runs=dry_runs)
