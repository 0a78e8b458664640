"""From a manifest to a job that can be stored: every check before anything is queued. Pure but for the drawn seeds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal

from orchestrator_mcp.clock import format_time
from orchestrator_mcp.domain.chains import Handover
from orchestrator_mcp.domain.deadlines import read_deadline
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.documents import value_problems
from orchestrator_mcp.domain.jobs import Door, Graph, new_job_id
from orchestrator_mcp.domain.lanes import LaneSpec, Requirements
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service.chains import handovers, is_of_a_job, parents
from orchestrator_mcp.service.drafts import Draft
from orchestrator_mcp.store import JobSpec, NewJob
from orchestrator_mcp.workflows.binding import Bound
from orchestrator_mcp.workflows.input_files import with_files
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.parameters import apply

UNNAMED: Final = "workflow"
LARGE: Final = 200  # nodes; or inputs, times ten
MOST_PROBLEMS: Final = 20  # told at once
MOST_SOURCE: Final = 64  # characters of metadata.source or metadata.project that make a lane
ShareBy = Literal["source", "project", "token"]
_FIRST_FIELDS: Final = frozenset(
    {"workflow_id", "workflow", "parameters", "metadata", "priority", "backend_affinity", "required_capabilities"}
)


class JobTemplate:
    """What the jobs of one manifest share, worked out once; then a job for any values of its parameters.

    Args:
        draft: its workflow, checked and read.
        manifest: what the caller wants.
        asked: the same as it came, before its files were found: what counts under an idempotency key.
        declared: the parameters that the workflow declares.
        capabilities: labels that the workflow asks of a backend, beside those of the manifest.
        types: what its inputs take, as far as the backends say.
        door: the way it came.
        owner: whose it is.
        stem: readable name of the result folder; the workflow id when None.
        claim: the Inbox file that it came by.
        warnings: what there is to say already.
        now: the moment of acceptance.
        share_by: between whom the farm is shared.
        counted_as: the workflow that named limits count its jobs by; empty for none.

    Raises:
        ManifestError: the metadata cannot be stored.
    """

    def __init__(
        self,
        draft: Draft,
        manifest: Manifest,
        declared: Sequence[ParameterView],
        *,
        asked: Manifest,
        capabilities: Sequence[str] = (),
        types: InputTypes = UNKNOWN_TYPES,
        door: Door,
        owner: str,
        stem: str | None,
        claim: InboxClaim | None,
        warnings: Sequence[str],
        now: datetime,
        share_by: ShareBy = "source",
        counted_as: str = "",
    ) -> None:
        if problems := list(islice(value_problems(dict(manifest.metadata), ("metadata",)), MOST_PROBLEMS)):
            raise ManifestError(problems)
        workflow_id = manifest.workflow_id or UNNAMED
        deadline, said = _deadline(manifest, now)
        self._asked = asked
        self._draft, self._manifest, self._declared, self._types, self._now = draft, manifest, declared, types, now
        self._binding = draft.binding(declared, types)
        self._warnings = [*warnings, *said, *draft.warnings]
        self._lanes: dict[tuple[str, Requirements, int], LaneSpec] = {}
        self._anywhere = LaneSpec(
            source=owner if share_by == "token" else _named(manifest, share_by) or "",
            capabilities=frozenset({*manifest.required_capabilities, *capabilities}),
            pin=manifest.backend_affinity,
            dated=manifest.priority if deadline is not None else None,
            workflow=counted_as,
        )
        self._shared: dict[str, Any] = {
            "owner": owner,
            "door": door,
            "workflow_id": workflow_id,
            "stem": stem or workflow_id,
            "graph": draft.graph,
            "graph_hash": draft.hash,
            "priority": manifest.priority,
            "submitted_at": now,
            "source": _named(manifest, "source"),
            "idempotency_key": manifest.idempotency_key,
            "claim": claim,
            "rerun_of": manifest.rerun_of,
            "deadline": deadline,
        }

    def job(self, parameters: Mapping[str, Any], job_id: str | None = None) -> NewJob:
        """Bind parameters and work out what the job needs.

        Args:
            parameters: the manifest's, or others in their place.
            job_id: what it is called; a fresh one unless given.

        Raises:
            ManifestError: a parameter fits nothing, or a value cannot be stored.
        """
        bound = self._binding.bind(parameters, self._manifest.metadata)
        wanted = handovers(bound.values, bound.targets, self._draft.graph, self._declared, self._types)
        return NewJob(
            job_id=job_id or new_job_id(self._now),
            lane=self._lane(bound),
            spec=self._spec(parameters, bound, wanted),
            body_hash=body_hash(self.as_taken(self._asked)) if self._manifest.idempotency_key else None,
            **self._shared,
        )

    def as_taken(self, manifest: Manifest) -> Manifest:
        """A manifest with each value as it counts: two that mean the same are the same.

        Args:
            manifest: as it came, with or without a batch.
        """
        taken = self._binding.taken
        parameters = {name: taken(name, value) for name, value in manifest.parameters.items()}
        if manifest.batch is None:
            return manifest.model_copy(update={"parameters": parameters})
        batch = {
            name: [taken(name, value) for value in varied] if isinstance(varied, list) else varied
            for name, varied in manifest.batch.items()
        }
        return manifest.model_copy(update={"parameters": parameters, "batch": batch})

    def without_effect(self, parameters: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> list[str]:
        """The parameters whose values make no difference but that they stand in the job: one is as good as another.

        Args:
            parameters: everything that a job is given.
            columns: the values that some of them may have.
        """
        if self._binding.draws_of_itself:
            return []
        setters = Counter(target for name in parameters for target in self._binding.targets(name))
        return [
            name
            for name, values in columns.items()
            if self._binding.takes_each(name, values)
            and all(setters[target] == 1 for target in self._binding.targets(name))
            and not self._draft.is_moved_by(self._binding.targets(name), values)
            and not any(map(is_of_a_job, values))
        ]

    def _lane(self, bound: Bound) -> LaneSpec:
        key, needed = self._draft.needs(bound)
        size = self._draft.work.size(bound.targets, bound.values)
        lane = self._lanes.get((key, needed, size))
        if lane is None:
            signature = self._draft.signature(key)
            lane = replace(self._anywhere, model_key=key, requirements=needed, signature=signature, size=size)
            self._lanes[key, needed, size] = lane
        return lane

    def _spec(self, given: Mapping[str, Any], bound: Bound, wanted: list[Handover]) -> JobSpec:
        parameters = {**given, **bound.whole, **bound.defaults}
        return JobSpec(
            parameters=parameters,
            targets=bound.targets,
            values={name: value for name, value in bound.values.items() if parameters.get(name) != value},
            seeds=bound.seeds,
            metadata=dict(self._manifest.metadata),
            warnings=[*self._warnings, *bound.warnings],
            parents=parents(self._manifest.depends_on, wanted),
            handovers=wanted,
        )


def _deadline(manifest: Manifest, now: datetime) -> tuple[datetime | None, list[str]]:
    """When a job is to be done, and what there is to say of it; the field counts before the metadata."""
    said: list[str] = []
    deadline, written = manifest.deadline, manifest.metadata.get("deadline")
    if written is not None:
        try:
            named = read_deadline(written)
        except ValueError as error:
            raise ManifestError.at("metadata", "deadline", message=str(error)) from error
        if deadline is not None and deadline != named:
            said.append("The field deadline and metadata.deadline differ; the field counts.")
        deadline = deadline or named
    if deadline is not None and deadline < now:
        said.append(f"The deadline {format_time(deadline)} has passed; the job is rendered as soon as it can be.")
    return deadline, said


def _named(manifest: Manifest, field: Literal["source", "project"]) -> str | None:
    name = manifest.metadata.get(field)
    return name[:MOST_SOURCE] if isinstance(name, str) else None


def is_large(graph: object) -> bool:
    """Whether a graph, checked or not, is better worked on by a thread than by the event loop."""
    if not isinstance(graph, dict) or len(graph) > LARGE:
        return True
    nodes = [node.get("inputs") for node in graph.values() if isinstance(node, dict)]
    return sum(len(inputs) for inputs in nodes if isinstance(inputs, dict)) > LARGE * 10


def body_hash(manifest: Manifest) -> str:
    """What two submissions under one idempotency key must agree in: the manifest, before seeds are drawn.

    Args:
        manifest: as it came, with its values as they count, see `JobTemplate.as_taken`.

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
