"""The way in: a manifest is read, checked and bound, and only then stored and queued.

```
Submission  what came, through which door, from whom
  → Ground    its workflow found and checked; for a rerun, together with the job that was
  → Settled   the files that it names found, judged and kept
  → NewJob    every parameter bound, seeds drawn; of a batch, one from each row over a common JobTemplate
  → preflight could any backend run it? → stored and queued in one transaction
```
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import anyio.lowlevel
import anyio.to_thread

from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.jobs import Door, new_job_ids
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.policy import denials
from orchestrator_mcp.domain.steps import AtStep, Step
from orchestrator_mcp.errors import ManifestError, NoBackendCanError, OrchestratorError, nearest
from orchestrator_mcp.service.acceptance import MOST_PROBLEMS, JobTemplate, ShareBy, is_large
from orchestrator_mcp.service.condition import Condition
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.inputs import InputFiles, Settled
from orchestrator_mcp.service.preflight import Preflight
from orchestrator_mcp.service.reruns import Earlier, Reruns
from orchestrator_mcp.service.workflows import FoundWorkflow, WorkflowReader
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import Acceptance, JobStore, NewJob

log = logging.getLogger(__name__)

_IN_ONE_BREATH: Final = 16  # manifests of many that are checked before others get a turn


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A manifest on its way in.

    Attributes:
        manifest: what the caller wants.
        door: the way it came.
        by: who hands it in: the owner, and the scope of idempotency keys.
        stem: readable name for the result folder; the workflow id when None.
        claim: the Inbox file that it came by.
        warnings: what the door already has to say about it.
        beside: the job folder that it came in, with files that it may name.
    """

    manifest: Manifest
    door: Door
    by: Caller
    stem: str | None = None
    claim: InboxClaim | None = None
    warnings: Sequence[str] = ()
    beside: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What stands about a manifest before its parameters are bound.

    Attributes:
        wanted: how it came.
        manifest: what is wanted, read together with the job that is done again.
        found: its workflow.
        earlier: the job that is done again.
        warnings: what there is to say so far.
        now: the moment of acceptance.
        share_by: between whom the farm is shared.
        counted_as: the workflow that named limits count its jobs by; empty for none.
    """

    wanted: Submission
    manifest: Manifest
    found: FoundWorkflow
    earlier: Earlier | None
    warnings: Sequence[str]
    now: datetime
    share_by: ShareBy
    counted_as: str = ""

    def template(self, manifest: Manifest, asked: Manifest) -> JobTemplate:
        """What all jobs of this manifest share.

        Args:
            manifest: with what its files are called, or any other parameters.
            asked: before its files were found.

        Raises:
            ManifestError: the metadata cannot be stored.
        """
        wanted, found, earlier = self.wanted, self.found, self.earlier
        return JobTemplate(
            found.draft,
            manifest,
            found.declared,
            asked=asked,
            capabilities=found.required_capabilities,
            types=found.types,
            door=wanted.door,
            owner=wanted.by.name,
            stem=wanted.stem or (earlier.stored.job.stem if earlier is not None else None),
            claim=wanted.claim,
            warnings=self.warnings,
            now=self.now,
            share_by=self.share_by,
            counted_as=self.counted_as,
        )

    def job(
        self, settled: Settled, template: JobTemplate, parameters: Mapping[str, Any], job_id: str | None = None
    ) -> NewJob:
        """Bind the parameters.

        Args:
            settled: the manifest with its files.
            template: what the job shares with others of the same manifest.
            parameters: with what its files are called.
            job_id: what it is called; a fresh one unless given.

        Raises:
            ManifestError: a parameter fits nothing, or a value cannot be stored.
        """
        new = settled.onto(template.job(parameters, job_id))
        return new if self.earlier is None else self.earlier.carried(new)

    def only_job(self, settled: Settled, job_id: str | None = None) -> NewJob:
        """The job of a manifest that makes one, under a fresh id unless one is given. Raises what `job` raises."""
        return self.job(settled, self.template(settled.manifest, settled.asked), settled.manifest.parameters, job_id)


class Submissions:
    """Takes manifests in.

    Args:
        store: where jobs live.
        pool: the backends.
        workflows: finds the graph of a manifest.
        inputs: finds the files that it names.
        settings: the configuration.
        clock: the time.
        gate: how much one caller may ask for.
        condition: whether anything may be accepted now.
        preflight: asks the backends whether any can run it.
        reruns: finds jobs that are to be done again.
        at_step: see `domain.steps`.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        pool: BackendPool,
        workflows: WorkflowReader,
        inputs: InputFiles,
        settings: CurrentSettings,
        clock: Clock,
        gate: Gate,
        condition: Condition,
        preflight: Preflight,
        reruns: Reruns,
        at_step: AtStep,
    ) -> None:
        self._store = store
        self._pool = pool
        self._workflows = workflows
        self._inputs = inputs
        self._settings = settings
        self._clock = clock
        self._gate = gate
        self._condition = condition
        self._preflight = preflight
        self._reruns = reruns
        self._at_step = at_step

    async def submit(self, wanted: Submission) -> Acceptance:
        """Check a manifest, store it durably and queue it. Raises what `JobService.submit` raises."""
        new = await self._checked(wanted)
        accepted = await self._store.accept(new, limits=self._settings.queue_limits)
        self._tell(new, accepted)
        return accepted

    async def submit_each(self, several: Sequence[Submission]) -> list[Acceptance | OrchestratorError]:
        """Check manifests one after the other and store those that pass together.

        Returns:
            For each its acceptance, or what `submit` would have raised.
        """
        answers: list[Acceptance | OrchestratorError | None] = [None] * len(several)
        jobs: dict[int, NewJob] = {}
        ids = new_job_ids(self._clock.now(), len(several))
        for place, wanted in enumerate(several):
            if place % _IN_ONE_BREATH == 0:
                await anyio.lowlevel.checkpoint()
            try:
                jobs[place] = await self._checked(wanted, ids[place])
            except OrchestratorError as error:
                answers[place] = error
        found = await self._store.accept_each(list(jobs.values()), limits=self._settings.queue_limits)
        for place, answer in zip(jobs, found, strict=True):
            if isinstance(answer, Acceptance):
                self._tell(jobs[place], answer)
            elif not isinstance(answer, OrchestratorError):
                raise answer
            answers[place] = answer
        return [answer for answer in answers if answer is not None]

    async def _checked(self, wanted: Submission, job_id: str | None = None) -> NewJob:
        """Everything that comes before storing, at the door and by the backends' words."""
        self._gate.pass_submission(wanted.by)
        new = await self.prepared(wanted, job_id)
        self._condition.require_open()
        await self._require_able(new)
        return await self._preflight.steered(new)

    def _tell(self, new: NewJob, accepted: Acceptance) -> None:
        self._at_step(Step.STORED)
        log.info("accepted through %s: %s", new.door.value, new.workflow_id, extra={"job_id": accepted.job_id})

    async def prepared(self, wanted: Submission, job_id: str | None = None) -> NewJob:
        """Everything that comes before storing: find the workflow, check it, bind the parameters.

        Args:
            wanted: a manifest, and how it came.
            job_id: what the job is called; a fresh one unless given.

        Raises:
            ManifestError: a field, parameter or the graph is wrong.
            NotFoundError: no such workflow.
            TooLargeError: the graph is over its limit.
        """
        ground = await self.looked_up(wanted)
        settled = await self._inputs.settle(ground.manifest, ground.found, beside=wanted.beside)
        if is_large(ground.found.graph):
            return await anyio.to_thread.run_sync(ground.only_job, settled, job_id)
        return ground.only_job(settled, job_id)

    async def looked_up(self, wanted: Submission) -> Ground:
        """The workflow of a manifest, found and checked. Raises what `prepared` raises."""
        earlier = await self._reruns.find(wanted.manifest, wanted.by)
        manifest = wanted.manifest if earlier is None else earlier.manifest(wanted.manifest)
        self._check_affinity(manifest)
        found = await self._workflows.find(manifest)
        if earlier is not None:
            found = replace(found, declared=earlier.declared)
        if denied := list(islice(denials(found.graph, self._settings.now.policy.denied_nodes), MOST_PROBLEMS)):
            raise ManifestError(denied, hint="Ask the operator of the farm, or take these nodes out.")
        capabilities = {*manifest.required_capabilities, *found.required_capabilities}
        return Ground(
            wanted=wanted,
            manifest=manifest,
            found=found,
            earlier=earlier,
            warnings=[*wanted.warnings, *found.warnings, *self._capability_warnings(capabilities)],
            now=self._clock.now(),
            share_by=self._settings.now.scheduling.share_by,
            counted_as=self._counted_as(manifest),
        )

    async def _require_able(self, new: NewJob) -> None:
        """Refuse what no backend can run, but for what was accepted before under the same key or claim."""
        try:
            await self._preflight.require_able(new)
        except NoBackendCanError:
            if not await self._store.knows(new):
                raise

    def _counted_as(self, manifest: Manifest) -> str:
        """Its workflow, if it is one of the library or a limit names it: callers choose labels of graphs freely."""
        named, limits = manifest.workflow_id or "", self._settings.now.scheduling.named_limits
        return named if manifest.workflow is None or any(limit.names(named) for limit in limits) else ""

    def _check_affinity(self, manifest: Manifest) -> None:
        wanted = manifest.backend_affinity
        if wanted is None or wanted in self._pool:
            return
        known = [backend.id for backend in self._pool]
        near = nearest(wanted, known)
        raise ManifestError.at(
            "backend_affinity",
            message=f"there is no backend {wanted!r}",
            code="unknown_backend",
            allowed=near or known[:20],
            hint="list_backends and GET /api/backends show them.",
        )

    def _capability_warnings(self, wanted: Iterable[str]) -> list[str]:
        asked = sorted(wanted)
        carried = {label for backend in self._pool for label in backend.settings.capabilities} if asked else set()
        missing = [label for label in asked if label not in carried]
        return [f"No configured backend carries the capability {label!r}; the job waits for one." for label in missing]
