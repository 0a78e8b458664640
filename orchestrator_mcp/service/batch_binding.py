"""The jobs of a batch: those whose values do different things are bound, the others are written after them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator_mcp.domain.batches import MODE, MODES, varying
from orchestrator_mcp.domain.documents import describe
from orchestrator_mcp.domain.jobs import new_batch_id, new_job_ids
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.errors import ManifestError, Problem
from orchestrator_mcp.service.acceptance import body_hash
from orchestrator_mcp.service.inputs import Settled
from orchestrator_mcp.service.submission import Ground
from orchestrator_mcp.store import BatchSpec, JobSpec, NewBatch, NewJob, SpecForm

MOST_TRIED: Final = 100  # jobs of one batch that the backends are asked about
Rows = Sequence[Mapping[str, Any]]


class BoundBatch:
    """Binds the parameters of every job; a tenth of a second's work for ten thousand that differ in their seeds.

    Args:
        ground: what stands about the manifest.
        rows: the parameters of each job.
        groups: the jobs that begin with the same files, by their indices, and these files.

    Raises:
        ManifestError: a parameter fits nothing, or a value cannot be stored; of the first job that has it.
    """

    def __init__(self, ground: Ground, rows: Rows, groups: Sequence[tuple[Settled, Sequence[int]]]) -> None:
        manifest = ground.manifest
        self._ground, self._rows = ground, rows
        self._names = varying(manifest.batch or {})
        self._asked = _representatives(rows, self._names)
        shared = single(manifest, manifest.parameters)
        self._template = ground.template(shared, shared)
        self._job_ids = new_job_ids(ground.now, len(rows))
        self._lanes: dict[LaneSpec, int] = {}
        self._lane_of = [0] * len(rows)
        self._specs = [""] * len(rows)
        self._linked: dict[int, JobSpec] = {}
        self._tried: dict[int, NewJob] = {}
        columns = {name: [row[name] for row in rows] for name in self._names} if ground.earlier is None else {}
        self._free = self._template.without_effect(rows[0], columns)
        decisive = [name for name in self._names if name not in self._free]
        for settled, group in groups:
            for alike in same_values(rows, decisive, group):
                self._bind_alike(settled, alike)

    @property
    def tried(self) -> list[NewJob]:
        """The jobs that the backends are to be asked about."""
        return list(self._tried.values())

    def whole(self) -> NewBatch:
        """The batch as it is stored."""
        ground, manifest, first = self._ground, self._ground.manifest, self._tried[0]
        return NewBatch(
            batch_id=new_batch_id(ground.now),
            owner=first.owner,
            door=first.door,
            workflow_id=first.workflow_id,
            stem=first.stem,
            spec=BatchSpec(
                varies=list(self._names),
                mode=str((manifest.batch or {}).get(MODE, MODES[0])),
                parameters=dict(manifest.parameters),
                warnings=list(first.spec.warnings),
                due=first.due,
            ),
            submitted_at=ground.now,
            graph=json.dumps(first.graph, ensure_ascii=False, separators=(",", ":")),
            graph_hash=first.graph_hash,
            lanes=list(self._lanes),
            job_ids=self._job_ids,
            lane_of=self._lane_of,
            specs=self._specs,
            linked=self._linked,
            priority=first.priority,
            rerun_of=first.rerun_of,
            source=first.source,
            idempotency_key=manifest.idempotency_key,
            body_hash=body_hash(self._template.as_taken(ground.wanted.manifest)) if manifest.idempotency_key else None,
            claim=ground.wanted.claim,
        )

    def _bind_alike(self, settled: Settled, alike: Sequence[int]) -> None:
        """Bind jobs that differ only in values without effect: one, and those that are asked about.

        Jobs that draw seeds, begin with files or wait for others are each bound: they hold more than they were given.
        """
        first, *others = alike
        spec = self._bind(settled, first).spec
        form = None if spec.values or spec.inputs or spec.parents or not self._free else SpecForm(spec, self._free)
        for index in others:
            if form is None or index in self._asked:
                self._bind(settled, index)
        if form is not None:
            self._write(form, [index for index in others if index not in self._asked], self._lane_of[first])

    def _write(self, form: SpecForm, indices: Sequence[int], lane: int) -> None:
        """Put down jobs after the form of another one."""
        rows = [self._rows[index] for index in indices]
        texts = form.filled([[row[name] for row in rows] for name in self._free])
        for index, text in zip(indices, texts, strict=True):
            self._specs[index], self._lane_of[index] = text, lane

    def _bind(self, settled: Settled, index: int) -> NewJob:
        called = {name: settled.manifest.parameters[name] for name in settled.files}
        try:
            one = self._ground.job(settled, self._template, {**self._rows[index], **called}, self._job_ids[index])
        except ManifestError as error:
            raise in_batch(error, self._ground.manifest, self._rows, index) from error
        self._lane_of[index] = self._lanes.setdefault(one.lane, len(self._lanes))
        self._specs[index] = one.spec.to_json()
        if one.spec.parents or one.spec.inputs:
            self._linked[index] = one.spec
        if index in self._asked:
            self._tried[index] = one
        return one


def same_values(rows: Rows, names: Sequence[str], of: Sequence[int]) -> list[list[int]]:
    """Jobs that have the same values, by their indices; in the order of the first of each.

    Args:
        rows: the parameters of each job.
        names: the parameters that count.
        of: the jobs to look at.
    """
    if not names:
        return [list(of)]
    groups: dict[str, list[int]] = defaultdict(list)
    for index in of:
        row = rows[index]
        groups[json.dumps([row[name] for name in names])].append(index)
    return list(groups.values())


def single(manifest: Manifest, parameters: Mapping[str, Any]) -> Manifest:
    """The manifest of one job: keys and the like are the batch's."""
    return manifest.model_copy(update={"parameters": dict(parameters), "batch": None, "idempotency_key": None})


def in_batch(error: ManifestError, manifest: Manifest, rows: Rows, index: int) -> ManifestError:
    """The same refusal, told of the batch: where the value stands, and which job it would have been."""
    names = varying(manifest.batch or {})
    problems = []
    for problem in error.problems:
        named = len(problem.path) > 1 and problem.path[0] == "parameters" and problem.path[1] in names
        if named:
            name = str(problem.path[1])
            message = f"{problem.message} (job {index + 1} of {len(rows)}, with {describe(rows[index][name])})"
            problem = Problem(
                path=("batch", *problem.path[1:]), message=message, code=problem.code, allowed=problem.allowed
            )
        problems.append(problem)
    return ManifestError(problems, hint=error.hint)


def _representatives(rows: Rows, names: Sequence[str]) -> set[int]:
    """The first job, and jobs that together show every text, and the least and the most of each number; at most 100."""
    chosen: set[int] = {0}
    for name in names:
        values = [row[name] for row in rows]
        numbers = [index for index, value in enumerate(values) if _is_number(value)]
        if numbers:
            chosen |= {min(numbers, key=values.__getitem__), max(numbers, key=values.__getitem__)}
        if len(numbers) < len(values):
            first: dict[str, int] = {}
            for index, value in enumerate(values):
                if not _is_number(value):
                    first.setdefault(json.dumps(value), index)
            chosen |= set(first.values())
    return set(sorted(chosen)[:MOST_TRIED])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
