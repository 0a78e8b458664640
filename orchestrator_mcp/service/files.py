"""The files that callers fetch and send: outputs of jobs, and what renders begin with."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.domain.views import AssetView, OutputView
from orchestrator_mcp.errors import NotFoundError
from orchestrator_mcp.service.condition import Condition
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.inputs import InputFiles
from orchestrator_mcp.service.showing import asset_output, asset_view, output_views
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """An artifact to serve: what it is, and where its bytes lie."""

    view: OutputView
    path: Path


@dataclass(frozen=True, kw_only=True)
class KeptAsset:
    """An input file that was taken in.

    Attributes:
        view: what it is.
        known: whether it was here before.
    """

    view: AssetView
    known: bool


@dataclass(frozen=True, kw_only=True)
class Files:
    """What `JobService` does with files.

    Attributes:
        store: what is on record of them.
        artifacts: where their bytes lie.
        inputs: takes in what renders begin with.
        gate: how much one caller may send.
        condition: whether anything may be taken in now.
    """

    store: JobStore
    artifacts: ArtifactStore
    inputs: InputFiles
    gate: Gate
    condition: Condition

    async def outputs(self, job_id: str, base_url: str) -> list[OutputView]:
        """See `JobService.outputs`."""
        return output_views((await self.store.job(job_id)).job, base_url)

    async def output(self, job_id: str, name: str, base_url: str) -> OutputFile:
        """See `JobService.output_file`."""
        views = {view.name: view for view in await self.outputs(job_id, base_url)}
        if name not in views:
            raise NotFoundError("output", name, known=views)
        return OutputFile(view=views[name], path=self.artifacts.path_of(views[name].sha256))

    async def keep(self, chunks: AsyncIterator[bytes], *, name_hint: str, by: Caller, base_url: str) -> KeptAsset:
        """See `JobService.keep_asset`."""
        self.gate.pass_submission(by)
        self.condition.require_open()
        asset, known = await self.inputs.keep(chunks, name_hint=name_hint)
        log.info("an asset of %d bytes was sent by %s", asset.size, by.name)
        return KeptAsset(view=asset_view(asset, base_url), known=known)

    async def asset(self, sha256: str, base_url: str) -> OutputFile:
        """See `JobService.asset_file`."""
        asset, path = await self.inputs.file(sha256)
        return OutputFile(view=asset_output(asset, base_url), path=path)
