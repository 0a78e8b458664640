"""The named workflows: a live view of folders full of JSON files, and of the YAML files that describe them.

An id is a key of the listing, never a path: nothing that a caller writes is ever joined to a folder.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

import anyio.to_thread

from orchestrator_mcp.domain.documents import parse_document
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import MAX_TEXT
from orchestrator_mcp.domain.views import ParameterView, WorkflowView
from orchestrator_mcp.errors import CallerError, ManifestError, NotFoundError
from orchestrator_mcp.files import Signature, read_regular
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows.declaration_file import SUFFIXES, Declared, merged, read_declarations
from orchestrator_mcp.workflows.graph import check_graph
from orchestrator_mcp.workflows.links import natural
from orchestrator_mcp.workflows.parameters import infer_parameters
from orchestrator_mcp.workflows.requirements import requirements
from orchestrator_mcp.workflows.studio_files import studio_declarations, unfold

logger = logging.getLogger(__name__)

MAX_FILES: Final = 10_000
MAX_ENTRIES: Final = 100_000
"""Names looked at below one folder; a `workflows_dir` that is a whole disk must not stop the work."""
MAX_FOLDERS_DEEP: Final = 8
_ENDING = ".json"
_MAX_PROBLEM = 500  # characters


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
    """

    id: str
    graph: Graph
    title: str
    parameters: tuple[ParameterView, ...]
    declared: tuple[ParameterView, ...] = ()
    required_capabilities: tuple[str, ...] = ()


Signatures = tuple[Signature, Signature | None]
"""Of the graph's file and of the file beside it, if there is one."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What one file was when it was last read: a workflow, or the reason why it is none."""

    signature: Signatures | None  # None: look again next time, whatever the files say
    workflow: LibraryWorkflow | None
    view: WorkflowView


class WorkflowLibrary:
    """Workflows by name, as the folders have them at this moment.

    Args:
        folders: where they lie; of equal ids the first folder's counts. A folder that does not exist is empty.
        limits: tells how large, deep and wide a workflow may be.
    """

    def __init__(self, folders: Sequence[Path], limits: Callable[[], LimitSettings]) -> None:
        self._folders = tuple(folders)
        self._limits = limits
        self._entries: Mapping[Path, _Entry] = MappingProxyType({})
        self._unreadable: frozenset[Path] = frozenset()

    async def list(self) -> list[WorkflowView]:
        """Every workflow, also those that cannot be used, with the reason; by id, as a person sorts."""
        entries = await anyio.to_thread.run_sync(self._read_all)
        return [entries[workflow_id].view for workflow_id in sorted(entries, key=natural)]

    async def get(self, workflow_id: str) -> LibraryWorkflow:
        """One workflow, as its file is now.

        Args:
            workflow_id: a key of the listing.

        Raises:
            NotFoundError: there is none of that name.
            ManifestError: its file cannot be used; the code is `workflow_unusable`.
        """
        entry = await anyio.to_thread.run_sync(self._read_one, workflow_id)
        if entry.workflow is None:
            message = f"the workflow {workflow_id!a} of the library cannot be used: {entry.view.problem}"
            raise ManifestError.at("workflow_id", message=message, code="workflow_unusable")
        return entry.workflow

    def _read_all(self) -> dict[str, _Entry]:
        found = {key: (path, self._entry(key, path)) for key, path in self._scan().items()}
        read = {key: (path, entry) for key, (path, entry) in found.items() if entry is not None}
        self._entries = MappingProxyType(dict(read.values()))
        return {key: entry for key, (_, entry) in read.items()}

    def _read_one(self, workflow_id: str) -> _Entry:
        paths = self._scan()
        key = unicodedata.normalize("NFC", workflow_id)
        entry = self._entry(key, paths[key]) if key in paths else None
        if entry is None:
            raise NotFoundError("workflow", workflow_id, known=paths)
        if self._entries.get(paths[key]) is not entry:
            self._entries = MappingProxyType({**self._entries, paths[key]: entry})
        return entry

    def _scan(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        unreadable: set[Path] = set()
        for folder in self._folders:
            for key, path in islice(_files_in(folder, unreadable), MAX_FILES):
                found.setdefault(key, path)
        for folder in unreadable - self._unreadable:
            logger.warning("The workflow folder %s cannot be read; its workflows are missing.", folder)
        self._unreadable = frozenset(unreadable)
        return found

    def _entry(self, workflow_id: str, path: Path) -> _Entry | None:
        """The file's entry, read again only if it changed; None when it is gone meanwhile."""
        try:
            real = path.resolve(strict=True)
            beside = _beside(path)
            signature = (Signature.of(real.stat()), None if beside is None else Signature.of(beside.stat()))
        except (OSError, RuntimeError):
            return None
        known = self._entries.get(path)
        if known is not None and known.signature == signature and known.view.id == workflow_id:
            return known
        try:
            workflow, view = self._load(workflow_id, real, beside)
        except CallerError as error:
            return _unusable(workflow_id, signature, str(error))
        except OSError as error:
            return _unusable(workflow_id, None, f"The file cannot be read: {error.strerror or error}.")
        return _Entry(signature=signature, workflow=workflow, view=view)

    def _load(self, workflow_id: str, path: Path, beside: Path | None) -> tuple[LibraryWorkflow, WorkflowView]:
        limits = self._limits()
        raw = read_regular(path, most=limits.body_bytes).content
        document = parse_document(raw, max_bytes=limits.body_bytes, max_depth=limits.graph_depth)
        unfolded = unfold(document, max_bytes=limits.body_bytes, max_depth=limits.graph_depth)
        content = document if unfolded is None else unfolded.workflow
        graph = check_graph(content, max_nodes=limits.graph_nodes, max_depth=limits.graph_depth)
        declared = Declared() if unfolded is None else studio_declarations(unfolded.around, graph)
        if beside is not None:
            called = f"{workflow_id}{beside.suffix}"
            declared = merged(read_declarations(beside, graph, called=called), declared)
        workflow = _described(workflow_id, graph, declared)
        return workflow, _view(workflow, declared)


def _beside(path: Path) -> Path | None:
    """What describes a workflow: its name with `.yaml` or `.yml`; a link out of the folder is none."""
    for suffix in SUFFIXES:
        found = path.with_suffix(suffix)
        if found.exists() and (not found.is_symlink() or found.resolve().is_relative_to(path.parent.resolve())):
            return found
    return None


def _described(workflow_id: str, graph: Graph, declared: Declared) -> LibraryWorkflow:
    shown = [view for view in declared.parameters if view.name not in declared.hidden]
    return LibraryWorkflow(
        id=workflow_id,
        graph=graph,
        title=declared.title or _title(workflow_id),
        parameters=tuple(shown if declared.parameters else infer_parameters(graph)),
        declared=declared.parameters,
        required_capabilities=declared.required_capabilities,
    )


def _files_in(folder: Path, unreadable: set[Path]) -> Iterator[tuple[str, Path]]:
    """Every workflow file below a folder with its id; folders that are links are not entered."""
    try:
        root = folder.resolve(strict=True)
    except (OSError, RuntimeError):
        return
    for parts, entry in islice(_entries_below(root, unreadable), MAX_ENTRIES):
        if entry.name.casefold().endswith(_ENDING) and _is_file_inside(entry, root):
            key = unicodedata.normalize("NFC", "/".join((*parts, entry.name[: -len(_ENDING)])))
            if len(key) <= MAX_TEXT:
                yield key, Path(entry.path)


def _entries_below(root: Path, unreadable: set[Path]) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str]]]:
    ahead: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    while ahead:
        here, parts = ahead.pop()
        try:
            with os.scandir(here) as scan:
                entries = sorted((entry for entry in scan if _is_plain(entry.name)), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            unreadable.add(here)
            continue
        for entry in entries:
            yield parts, entry
            if len(parts) < MAX_FOLDERS_DEEP and entry.is_dir(follow_symlinks=False):
                ahead.append((Path(entry.path), (*parts, entry.name)))


def _is_plain(name: str) -> bool:
    """Whether a name can be part of an id: visible, printable, without a separator of any system."""
    if name.startswith(".") or "\\" in name:
        return False
    return not any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name)


def _is_file_inside(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        if not entry.is_symlink():
            return entry.is_file(follow_symlinks=False)
        return Path(entry.path).resolve(strict=True).is_relative_to(root) and entry.is_file()
    except (OSError, RuntimeError):
        return False


def _title(workflow_id: str) -> str:
    words = workflow_id.rsplit("/", 1)[-1].replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:] if words else workflow_id


def _view(workflow: LibraryWorkflow, declared: Declared) -> WorkflowView:
    return WorkflowView(
        id=workflow.id,
        title=workflow.title,
        description=declared.description,
        tags=list(declared.tags),
        required_capabilities=list(declared.required_capabilities),
        estimated_seconds=declared.estimated_seconds,
        node_classes=sorted(requirements(workflow.graph).node_classes),
        parameters=list(workflow.parameters),
        notes=list(declared.notes),
    )


def _unusable(workflow_id: str, signature: Signatures | None, problem: str) -> _Entry:
    short = problem if len(problem) <= _MAX_PROBLEM else f"{problem[: _MAX_PROBLEM - 1]}…"
    view = WorkflowView(id=workflow_id, title=_title(workflow_id), problem=short)
    return _Entry(signature=signature, workflow=None, view=view)
