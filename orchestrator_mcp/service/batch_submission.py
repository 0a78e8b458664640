"""The way in of batches: one manifest becomes many jobs, each checked and bound, stored together or not at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import anyio.lowlevel
import anyio.to_thread

from orchestrator_mcp.domain.batches import expand, varying
from orchestrator_mcp.domain.steps import AtStep, Step
from orchestrator_mcp.errors import ManifestError, NoBackendCanError
from orchestrator_mcp.service.batch_binding import BoundBatch, Rows, in_batch, same_values, single
from orchestrator_mcp.service.condition import Condition
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.inputs import InputFiles, Settled
from orchestrator_mcp.service.preflight import Preflight
from orchestrator_mcp.service.submission import Ground, Submission, Submissions
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import BatchAcceptance, JobStore, NewBatch, NewJob
from orchestrator_mcp.workflows.input_files import targets_of

log = logging.getLogger(__name__)


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
        unfolded = partial(_unfolded, ground, self._settings.now.limits.batch_jobs)
        rows, groups = await anyio.to_thread.run_sync(unfolded)
        settled = [(await self._settled(ground, rows, group), group) for group in groups]
        bound = await anyio.to_thread.run_sync(partial(BoundBatch, ground, rows, settled))
        return bound.whole(), bound.tried

    async def _settled(self, ground: Ground, rows: Rows, group: Sequence[int]) -> Settled:
        """The files that all jobs of a group begin with."""
        manifest = single(ground.manifest, rows[group[0]])
        try:
            return await self._inputs.settle(manifest, ground.found, beside=ground.wanted.beside)
        except ManifestError as error:
            raise in_batch(error, ground.manifest, rows, group[0]) from error

    async def _require_able(self, new: NewBatch, asked: Sequence[NewJob]) -> None:
        """Refuse what no backend can run: every text that varies is tried, and of numbers the least and the most."""
        try:
            for one in asked:
                await self._preflight.require_able(one)
                await anyio.lowlevel.checkpoint()
        except NoBackendCanError:
            if not await self._store.batches.knows(new):
                raise


def _unfolded(ground: Ground, most: int) -> tuple[Rows, list[list[int]]]:
    """The parameters of every job, and the jobs that begin with the same files, by their indices.

    Args:
        ground: what stands about the manifest.
        most: how many jobs there may be.
    """
    found, batch = ground.found, ground.manifest.batch or {}
    rows, names, takes = expand(batch, ground.manifest.parameters, most=most), varying(batch), found.takes
    placed = targets_of(found.graph, found.declared, names)
    files = [name for name in names if any(target in takes for target in placed[name])]
    return rows, same_values(rows, files, range(len(rows)))
