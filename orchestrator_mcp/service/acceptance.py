"""From a manifest to a job that can be stored: every check before anything is queued. Pure but for the drawn seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal

from orchestrator_mcp.domain.chains import Handover
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.documents import value_problems
from orchestrator_mcp.domain.jobs import Door, Graph, new_job_id
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service.chains import handovers, parents
from orchestrator_mcp.service.drafts import Draft
from orchestrator_mcp.store import JobSpec, NewJob
from orchestrator_mcp.workflows.input_files import with_files
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.parameters import Bound, apply, targets_for

UNNAMED: Final = "workflow"
LARGE: Final = 200  # nodes; or inputs, times ten
MOST_PROBLEMS: Final = 20  # told at once
MOST_SOURCE: Final = 64  # characters of metadata.source or metadata.project that make a lane
ShareBy = Literal["source", "project", "token"]
_FIRST_FIELDS: Final = frozenset(
    {"workflow_id", "workflow", "parameters", "metadata", "priority", "backend_affinity", "required_capabilities"}
)


def new_job(
    manifest: Manifest,
    graph: Graph,
    declared: Sequence[ParameterView],
    *,
    capabilities: Sequence[str] = (),
    types: InputTypes = UNKNOWN_TYPES,
    door: Door,
    owner: str,
    stem: str | None,
    claim: InboxClaim | None,
    warnings: Sequence[str],
    now: datetime,
    draft: Draft | None = None,
    share_by: ShareBy = "source",
) -> NewJob:
    """Bind the parameters and work out what the job needs.

    Args:
        manifest: what the caller wants.
        graph: its workflow, checked.
        declared: the parameters that the workflow declares.
        capabilities: labels that the workflow asks of a backend, beside those of the manifest.
        types: what its inputs take, as far as the backends say.
        door: the way it came.
        owner: whose it is.
        stem: readable name of its result folder; the workflow id when None.
        claim: the Inbox file that it came by.
        warnings: what there is to say already.
        now: the moment of acceptance.
        draft: what it shares with other jobs of the same manifest.
        share_by: between whom the farm is shared.

    Raises:
        ManifestError: a parameter fits nothing, or a value cannot be stored.
    """
    if problems := list(islice(value_problems(dict(manifest.metadata), ("metadata",)), MOST_PROBLEMS)):
        raise ManifestError(problems)
    draft = draft or Draft(graph, manifest.workflow)
    bound = targets_for(graph, manifest.parameters, manifest.metadata, declared, types=types, names=draft.names)
    wanted = handovers({**manifest.parameters, **bound.defaults}, bound.targets, graph, declared, types)
    key, needed = draft.needs(bound)
    source, workflow_id = _named(manifest, "source"), manifest.workflow_id or UNNAMED
    return NewJob(
        job_id=new_job_id(now),
        owner=owner,
        door=door,
        workflow_id=workflow_id,
        stem=stem or workflow_id,
        graph=graph,
        graph_hash=draft.hash,
        lane=LaneSpec(
            source=owner if share_by == "token" else _named(manifest, share_by) or "",
            capabilities=frozenset({*manifest.required_capabilities, *capabilities}),
            pin=manifest.backend_affinity,
            model_key=key,
            requirements=needed,
            signature=draft.work.signature(key),
            size=draft.work.size(bound.targets, bound.values),
        ),
        priority=manifest.priority,
        spec=_spec(manifest, bound, wanted, [*warnings, *draft.warnings, *bound.warnings]),
        submitted_at=now,
        source=source,
        idempotency_key=manifest.idempotency_key,
        body_hash=body_hash(manifest) if manifest.idempotency_key else None,
        claim=claim,
        rerun_of=manifest.rerun_of,
    )


def _named(manifest: Manifest, field: Literal["source", "project"]) -> str | None:
    name = manifest.metadata.get(field)
    return name[:MOST_SOURCE] if isinstance(name, str) else None


def _spec(manifest: Manifest, bound: Bound, wanted: list[Handover], warnings: list[str]) -> JobSpec:
    parameters = {**manifest.parameters, **bound.defaults}
    return JobSpec(
        parameters=parameters,
        targets=bound.targets,
        values={name: value for name, value in bound.values.items() if parameters.get(name) != value},
        seeds=bound.seeds,
        metadata=dict(manifest.metadata),
        warnings=warnings,
        parents=parents(manifest.depends_on, wanted),
        handovers=wanted,
    )


def is_large(graph: object) -> bool:
    """Whether a graph, checked or not, is better worked on by a thread than by the event loop."""
    if not isinstance(graph, dict) or len(graph) > LARGE:
        return True
    nodes = [node.get("inputs") for node in graph.values() if isinstance(node, dict)]
    return sum(len(inputs) for inputs in nodes if isinstance(inputs, dict)) > LARGE * 10


def body_hash(manifest: Manifest) -> str:
    """What two submissions under one idempotency key must agree in: the manifest, before seeds are drawn.

    A field that version 0.1 did not know counts only where it is given, so that keys of then are still known.
    """
    body: dict[str, Any] = manifest.model_dump(mode="json", exclude={"idempotency_key"})
    body = {name: value for name, value in body.items() if name in _FIRST_FIELDS or value}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def resolved_graph(document: str, spec: JobSpec) -> Graph:
    """A stored job's graph with every value bound."""
    return bound_graph(json.loads(document), spec)


def bound_graph(graph: Graph, spec: JobSpec) -> Graph:
    """A job's graph with every value bound; nodes that nothing touches are shared with the one it came with."""
    bound = apply(graph, spec.targets, {**spec.parameters, **spec.values}, spec.seeds)
    return with_files(bound, spec.inputs)
