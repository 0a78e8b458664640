"""Which graph a manifest means, and what is declared about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio.to_thread

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.service.acceptance import is_large
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.workflows.graph import check_graph
from orchestrator_mcp.workflows.library import WorkflowLibrary


@dataclass(frozen=True, kw_only=True)
class FoundWorkflow:
    """A checked graph, and what its author said of it.

    Attributes:
        graph: in API format; shared, so it must not be changed.
        declared: the parameters that the workflow declares.
        required_capabilities: labels that it asks of a backend.
        warnings: what there is to say about how it was read.
    """

    graph: Graph
    declared: Sequence[ParameterView] = ()
    required_capabilities: Sequence[str] = ()
    warnings: Sequence[str] = ()


class WorkflowReader:
    """Finds the workflow of a manifest: in the library, or in the manifest itself.

    Args:
        library: the named workflows.
        settings: tells how large and deep a graph may be.
    """

    def __init__(self, library: WorkflowLibrary, settings: CurrentSettings) -> None:
        self._library = library
        self._settings = settings

    async def find(self, manifest: Manifest) -> FoundWorkflow:
        """The workflow that a manifest means.

        Args:
            manifest: what the caller wants.

        Raises:
            ManifestError: the graph is wrong, or the file in the library cannot be used.
            NotFoundError: no such workflow.
            TooLargeError: the graph is over its limit.
        """
        if manifest.workflow is None:
            named = await self._library.get(manifest.workflow_id or "")
            return FoundWorkflow(
                graph=named.graph, declared=named.declared, required_capabilities=named.required_capabilities
            )
        limits = self._settings.now.limits

        def check() -> Graph:
            return check_graph(manifest.workflow, max_nodes=limits.graph_nodes, max_depth=limits.graph_depth)

        return FoundWorkflow(graph=await anyio.to_thread.run_sync(check) if is_large(manifest.workflow) else check())
