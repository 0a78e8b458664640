"""The way in of batches: one manifest becomes many jobs, each checked and bound, stored together or not at all."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio.lowlevel
import anyio.to_thread

from orchestrator_mcp.domain.batches import MODE, MODES, expand, varying
from orchestrator_mcp.domain.documents import describe
from orchestrator_mcp.domain.jobs import new_batch_id, new_job_ids
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.steps import AtStep, Step
from orchestrator_mcp.errors import ManifestError, NoBackendCanError, Problem
from orchestrator_mcp.service.acceptance import body_hash
from orchestrator_mcp.service.condition import Condition
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.inputs import InputFiles, Settled
from orchestrator_mcp.service.preflight import Preflight
from orchestrator_mcp.service.submission import Ground, Submission, Submissions
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import BatchAcceptance, BatchSpec, JobSpec, JobStore, NewBatch, NewJob, SpecWriter
from orchestrator_mcp.workflows.input_files import targets_of

log = logging.getLogger(__name__)

MOST_TRIED: Final = 100  # jobs of one batch that the backends are asked about


class BatchSubmissions:
    """Takes batches in.

    Args:
        submissions: finds workflows.
        store: where jobs live.
        inputs: finds the files that a manifest names.
        settings: the configuration.
        gate: how much one caller may ask for; a batch counts as one submission.
        condition: whether anything may be accepted now.
        preflight: asks the backends whether any can run it.
        at_step: see `domain.steps`.
    """

    def __init__(
        self,
        *,
        submissions: Submissions,
        store: JobStore,
        inputs: InputFiles,
        settings: CurrentSettings,
        gate: Gate,
        condition: Condition,
        preflight: Preflight,
        at_step: AtStep,
    ) -> None:
        self._submissions = submissions
        self._store = store
        self._inputs = inputs
        self._settings = settings
        self._gate = gate
        self._condition = condition
        self._preflight = preflight
        self._at_step = at_step

    async def submit(self, wanted: Submission) -> BatchAcceptance:
        """Check a manifest with a batch, store all of its jobs durably and queue them.

        Raises:
            ManifestError: the batch, a field, parameter or the graph is wrong; nothing was stored.
            NotFoundError: no such workflow.
            IdempotencyConflict: the key came before with another manifest.
            TooLargeError: the graph is over its limit, or the batch has more jobs than may ever wait.
            TooManyError: this caller is too fast, or more jobs would wait than may.
            StorageError: it cannot be stored now.
        """
        self._gate.pass_submission(wanted.by)
        new, asked = await self._prepared(wanted)
        self._condition.require_open()
        await self._require_able(new, asked)
        accepted = await self._store.batches.accept(new, limits=self._settings.queue_limits)
        self._at_step(Step.STORED)
        log.info("accepted through %s: %s, %d jobs", wanted.door.value, accepted.batch_id, accepted.count)
        return accepted

    async def _prepared(self, wanted: Submission) -> tuple[NewBatch, list[NewJob]]:
        """Everything that comes before storing."""
        ground = await self._submissions.looked_up(wanted)
        batch, given = ground.manifest.batch or {}, ground.manifest.parameters
        most = self._settings.now.limits.batch_jobs
        rows = await anyio.to_thread.run_sync(lambda: expand(batch, given, most=most))
        groups = await anyio.to_thread.run_sync(partial(_by_files, ground, rows))
        settled = [(await self._settled(ground, rows, group), group) for group in groups]
        return await anyio.to_thread.run_sync(partial(_new_batch, ground, rows, settled))

    async def _settled(self, ground: Ground, rows: Sequence[Mapping[str, Any]], group: Sequence[int]) -> Settled:
        """The files that all jobs of a group begin with."""
        manifest = _single(ground.manifest, rows[group[0]])
        try:
            return await self._inputs.settle(manifest, ground.found, beside=ground.wanted.beside)
        except ManifestError as error:
            raise _in_batch(error, ground.manifest, rows, group[0]) from error

    async def _require_able(self, new: NewBatch, asked: Sequence[NewJob]) -> None:
        """Refuse what no backend can run: every text that varies is tried, and of numbers the least and the most."""
        try:
            for one in asked:
                await self._preflight.require_able(one)
                await anyio.lowlevel.checkpoint()
        except NoBackendCanError:
            if not await self._store.batches.knows(new):
                raise


def _by_files(ground: Ground, rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The jobs that begin with the same files, by their indices."""
    found, names = ground.found, varying(ground.manifest.batch or {})
    takes = found.takes
    placed = targets_of(found.graph, found.declared, names)
    files = [name for name in names if any(target in takes for target in placed[name])]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[json.dumps([row[name] for name in files]) if files else ""].append(index)
    return list(groups.values())


def _new_batch(
    ground: Ground, rows: Sequence[Mapping[str, Any]], groups: Sequence[tuple[Settled, Sequence[int]]]
) -> tuple[NewBatch, list[NewJob]]:
    """Bind the parameters of every job; about a second's work for ten thousand of them.

    Returns:
        The batch, and the jobs that the backends are to be asked about.
    """
    manifest = ground.manifest
    batch = manifest.batch or {}
    template = ground.template(_single(manifest, manifest.parameters))
    asked = _representatives(rows, varying(batch))
    lanes: dict[LaneSpec, int] = {}
    job_ids = new_job_ids(ground.now, len(rows))
    made: dict[int, tuple[int, str]] = {}
    linked: dict[int, JobSpec] = {}
    tried: dict[int, NewJob] = {}
    for settled, group in groups:
        called, writer = {name: settled.manifest.parameters[name] for name in settled.files}, SpecWriter()
        for index in group:
            try:
                one = ground.job(settled, template, {**rows[index], **called}, job_ids[index])
            except ManifestError as error:
                raise _in_batch(error, manifest, rows, index) from error
            made[index] = (lanes.setdefault(one.lane, len(lanes)), writer.to_json(one.spec))
            if one.spec.parents or one.spec.inputs:
                linked[index] = one.spec
            if index in asked:
                tried[index] = one
    first = tried[0]
    new = NewBatch(
        batch_id=new_batch_id(ground.now),
        owner=first.owner,
        door=first.door,
        workflow_id=first.workflow_id,
        stem=first.stem,
        spec=BatchSpec(
            varies=list(varying(batch)),
            mode=str(batch.get(MODE, MODES[0])),
            parameters=dict(manifest.parameters),
            warnings=list(first.spec.warnings),
            due=first.due,
        ),
        submitted_at=ground.now,
        graph=json.dumps(first.graph, ensure_ascii=False, separators=(",", ":")),
        graph_hash=first.graph_hash,
        lanes=list(lanes),
        job_ids=job_ids,
        lane_of=[made[index][0] for index in range(len(rows))],
        specs=[made[index][1] for index in range(len(rows))],
        linked=linked,
        priority=first.priority,
        rerun_of=first.rerun_of,
        source=first.source,
        idempotency_key=manifest.idempotency_key,
        body_hash=body_hash(ground.wanted.manifest) if manifest.idempotency_key else None,
        claim=ground.wanted.claim,
    )
    return new, list(tried.values())


def _single(manifest: Manifest, parameters: Mapping[str, Any]) -> Manifest:
    """The manifest of one job: keys and the like are the batch's."""
    return manifest.model_copy(update={"parameters": dict(parameters), "batch": None, "idempotency_key": None})


def _in_batch(error: ManifestError, manifest: Manifest, rows: Sequence[Mapping[str, Any]], index: int) -> ManifestError:
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


def _representatives(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> set[int]:
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
