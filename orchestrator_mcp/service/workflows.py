"""Which graph a manifest means, and what is declared about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import anyio.to_thread

from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.domain.documents import value_problems
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import ParameterType, ParameterView
from orchestrator_mcp.domain.workflow_documents import NO_CATALOGUE, looks_like_ui
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service.acceptance import MOST_PROBLEMS, is_large
from orchestrator_mcp.service.drafts import Draft, Drafts
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.workflows.catalogues import Catalogue, that_count
from orchestrator_mcp.workflows.convert.several import convert_with_any, no_catalogue
from orchestrator_mcp.workflows.graph import check_graph
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.library import WorkflowLibrary

FIRST_LOOKS: Final = 10.0  # seconds that a workflow of the page waits for backends that nobody has looked at yet


@dataclass(frozen=True, kw_only=True)
class FoundWorkflow:
    """A checked graph, and what its author said of it.

    Attributes:
        draft: the reading of the graph.
        declared: the parameters that the workflow declares.
        required_capabilities: labels that it asks of a backend.
        warnings: what there is to say about how it was read.
        types: what its inputs take, as far as the backends say.
    """

    draft: Draft
    declared: Sequence[ParameterView] = ()
    required_capabilities: Sequence[str] = ()
    warnings: Sequence[str] = ()
    types: InputTypes = UNKNOWN_TYPES

    @property
    def graph(self) -> Graph:
        """The graph in API format; shared, so it must not be changed."""
        return self.draft.graph

    @property
    def takes(self) -> dict[str, ParameterType]:
        """Every input that names a file which a caller brings; shared, too."""
        return self.draft.takes(self.declared, self.types)


class WorkflowReader:
    """Finds the workflow of a manifest: in the library, or in the manifest itself.

    Args:
        library: the named workflows.
        settings: tells how large and deep a graph may be.
        pool: the backends, which know what the values mean that ComfyUI's page saved.
    """

    def __init__(self, library: WorkflowLibrary, settings: CurrentSettings, pool: BackendPool) -> None:
        self._library = library
        self._settings = settings
        self._pool = pool
        self._drafts = Drafts()

    async def find(self, manifest: Manifest) -> FoundWorkflow:
        """The workflow that a manifest means; in API format, whatever it was in before.

        Which backend's nodes count: those of the one to which the manifest is pinned, else of the first in the
        configuration that knows all of them.

        Args:
            manifest: what the caller wants.

        Raises:
            ManifestError: the graph is wrong or cannot be converted, or the file in the library cannot be used. The
                code of the only problem is `no_catalogue` when it could be converted, had a backend answered.
            NotFoundError: no such workflow.
            TooLargeError: the graph is over its limit.
        """
        try:
            return await self._find(manifest)
        except ManifestError as error:
            if [problem.code for problem in error.problems] != [NO_CATALOGUE]:
                raise
        await self._pool.looked_at_once(FIRST_LOOKS)
        return await self._find(manifest)

    async def _find(self, manifest: Manifest) -> FoundWorkflow:
        pin, known = manifest.backend_affinity, self._pool.catalogues()
        types = InputTypes([catalogue.raw for name, catalogue in known.items() if pin in (None, name)])
        if manifest.workflow is None:
            named = await self._library.get(manifest.workflow_id or "", pin=pin)
            return FoundWorkflow(
                draft=self._drafts.of(named.graph, None, partial(Draft, named.graph)),
                declared=named.declared,
                required_capabilities=named.required_capabilities,
                warnings=named.warnings,
                types=types,
            )
        if looks_like_ui(manifest.workflow):
            return await anyio.to_thread.run_sync(partial(self._convert, manifest, known, types))
        if is_large(manifest.workflow):
            return await anyio.to_thread.run_sync(partial(self._check, manifest.workflow, types))
        return self._check(manifest.workflow, types)

    def _check(self, graph: object, types: InputTypes, warnings: Sequence[str] = ()) -> FoundWorkflow:
        limits = self._settings.now.limits
        most, depth = limits.graph_nodes, limits.graph_depth

        def read() -> Draft:
            return Draft(check_graph(graph, max_nodes=most, max_depth=depth), graph)

        return FoundWorkflow(draft=self._drafts.of(graph, (most, depth), read), warnings=warnings, types=types)

    def _convert(self, manifest: Manifest, known: Mapping[str, Catalogue], types: InputTypes) -> FoundWorkflow:
        pin, depth = manifest.backend_affinity, self._settings.now.limits.graph_depth
        if unsound := list(islice(value_problems(manifest.workflow, ("workflow",), max_depth=depth), MOST_PROBLEMS)):
            raise ManifestError(unsound)
        catalogues = that_count(known, pin)
        if not catalogues:
            raise no_catalogue(pin)
        made = convert_with_any(manifest.workflow, (catalogue.raw for catalogue in catalogues)).converted
        return self._check(made.graph, types, made.warnings)
