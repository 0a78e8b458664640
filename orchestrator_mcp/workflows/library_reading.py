"""One file of the library: what it holds, what is declared about it, and what it is by the backends that are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator_mcp.domain.documents import parse_document
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterView, WorkflowView
from orchestrator_mcp.domain.workflow_documents import looks_like_ui
from orchestrator_mcp.files import open_regular, read_regular
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows.catalogues import Catalogue
from orchestrator_mcp.workflows.convert.opening import open_workflow
from orchestrator_mcp.workflows.convert.several import convert_with_any
from orchestrator_mcp.workflows.declaration_file import Declared, merged, read_declarations
from orchestrator_mcp.workflows.graph import check_graph
from orchestrator_mcp.workflows.input_types import InputTypes
from orchestrator_mcp.workflows.library_files import is_document
from orchestrator_mcp.workflows.parameters import infer_parameters, with_limits
from orchestrator_mcp.workflows.requirements import requirements
from orchestrator_mcp.workflows.studio_files import studio_declarations, unfold


@dataclass(frozen=True, kw_only=True)
class LibraryWorkflow:
    """A workflow that can be run.

    Attributes:
        id: its key in the listing.
        graph: the checked graph; shared, so it must not be changed.
        title: what people call it.
        parameters: what a caller is shown to set by name.
        declared: every parameter that is declared, shown or not.
        required_capabilities: labels that a backend must carry for it, folded.
        warnings: what of its file could not be followed and does not matter, in words.
    """

    id: str
    graph: Graph
    title: str
    parameters: tuple[ParameterView, ...]
    declared: tuple[ParameterView, ...] = ()
    required_capabilities: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReadWorkflow:
    """What a file is by the backends that were known when it was read.

    Attributes:
        workflow: it.
        said: what is said about it beside its graph.
        tried: how many catalogues were asked to convert it; 0 when it needed none.
    """

    workflow: LibraryWorkflow
    said: Declared
    tried: int

    @property
    def view(self) -> WorkflowView:
        """It as callers see it."""
        return WorkflowView(
            id=self.workflow.id,
            title=self.workflow.title,
            description=self.said.description,
            tags=list(self.said.tags),
            required_capabilities=list(self.said.required_capabilities),
            estimated_seconds=self.said.estimated_seconds,
            node_classes=sorted(requirements(self.workflow.graph).node_classes),
            parameters=list(self.workflow.parameters),
            notes=[*self.said.notes, *self.workflow.warnings],
        )


@dataclass(frozen=True, kw_only=True)
class ReadGraph:
    """The graph of a file, in API format.

    Attributes:
        graph: it, checked.
        said: what the file itself says about it.
        warnings: what could not be followed and does not matter, in words.
        tried: how many catalogues were asked to convert it; 0 when it needed none.
    """

    graph: Graph
    said: Declared
    warnings: tuple[str, ...]
    tried: int


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What a file holds: a graph in whatever format, and what other tools wrote around it."""

    content: Any
    around: dict[str, Any] | None = None
    embedded_page: bool = False
    warnings: tuple[str, ...] = ()


def read_workflow(
    workflow_id: str,
    path: Path,
    beside: Path | None,
    *,
    limits: LimitSettings,
    catalogues: Sequence[Catalogue],
) -> ReadWorkflow:
    """Read one file of the library.

    Args:
        workflow_id: its key in the listing.
        path: a document, or a picture, film or sound with a workflow in it.
        beside: the file that describes it.
        limits: how large, deep and wide a workflow may be.
        catalogues: what the backends know, first that of the backend that goes before the others.

    Raises:
        CallerError: it cannot be used; the message says why. The problem's code is `no_workflow` when a picture
            carries none, and `no_catalogue` while it cannot be converted.
        OSError: it cannot be read.
    """
    read = read_graph(path, limits=limits, catalogues=(catalogue.raw for catalogue in catalogues))
    graph, said = read.graph, read.said
    if beside is not None:
        said = merged(read_declarations(beside, graph, called=f"{workflow_id}{beside.suffix}"), said)
    workflow = LibraryWorkflow(
        id=workflow_id,
        graph=graph,
        title=said.title or title_from(workflow_id),
        parameters=(),
        declared=said.parameters,
        required_capabilities=said.required_capabilities,
        warnings=read.warnings,
    )
    return typed_anew(ReadWorkflow(workflow=workflow, said=said, tried=read.tried), catalogues)


def read_graph(path: Path, *, limits: LimitSettings, catalogues: Iterable[Mapping[str, Any]]) -> ReadGraph:
    """Read the graph of a file; raises what `read_workflow` raises.

    Args:
        path: a document, or a picture, film or sound with a workflow in it.
        limits: how large, deep and wide a workflow may be.
        catalogues: what the backends answer at `/object_info`; no more of them are taken than are needed.
    """
    held = _held_by(path, limits)
    content, warnings, tried = held.content, held.warnings, 0
    if held.embedded_page or looks_like_ui(content):
        made = convert_with_any(content, catalogues)
        content, tried = made.converted.graph, made.tried
        warnings = (*warnings, *made.converted.warnings)
    graph = check_graph(content, max_nodes=limits.graph_nodes, max_depth=limits.graph_depth)
    said = Declared() if held.around is None else studio_declarations(held.around, graph)
    return ReadGraph(graph=graph, said=said, warnings=warnings, tried=tried)


def typed_anew(read: ReadWorkflow, catalogues: Sequence[Catalogue]) -> ReadWorkflow:
    """The same workflow with parameters as the backends know them now.

    Args:
        read: a workflow.
        catalogues: see `read_workflow`.
    """
    graph, types = read.workflow.graph, InputTypes([catalogue.raw for catalogue in catalogues])
    if read.said.parameters:
        declared = (view for view in read.said.parameters if view.name not in read.said.hidden)
        shown = [with_limits(graph, view, types) for view in declared]
    else:
        shown = infer_parameters(graph, types)
    return replace(read, workflow=replace(read.workflow, parameters=tuple(shown)))


def title_from(workflow_id: str) -> str:
    """What a workflow is called that has no title."""
    words = workflow_id.rsplit("/", 1)[-1].replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:] if words else workflow_id


def _held_by(path: Path, limits: LimitSettings) -> _Held:
    most, depth = limits.body_bytes, limits.graph_depth
    if not is_document(path):
        with open_regular(path) as file:
            opened = open_workflow(file, max_bytes=most, max_depth=depth)
        page = opened.embedded == "workflow"
        return _Held(content=opened.document, embedded_page=page, warnings=opened.warnings)
    document = parse_document(read_regular(path, most=most).content, max_bytes=most, max_depth=depth)
    unfolded = unfold(document, max_bytes=most, max_depth=depth)
    if unfolded is None:
        return _Held(content=document)
    return _Held(content=unfolded.workflow, around=dict(unfolded.around))
