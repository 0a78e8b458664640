"""The named workflows: a live view of folders full of workflow files, and of the YAML files that describe them.

A file is read again only when it changes, or when the backends by which it is understood change.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import anyio.to_thread

from orchestrator_mcp.domain.views import WorkflowView
from orchestrator_mcp.domain.workflow_documents import NO_CATALOGUE
from orchestrator_mcp.errors import CallerError, ManifestError, NotFoundError
from orchestrator_mcp.files import Signature
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows.catalogues import Catalogue, Catalogues, none_known, that_count
from orchestrator_mcp.workflows.convert.several import no_catalogue
from orchestrator_mcp.workflows.library_files import described_by, is_document, workflow_files
from orchestrator_mcp.workflows.library_reading import (
    LibraryWorkflow,
    ReadWorkflow,
    read_workflow,
    title_from,
    typed_anew,
)
from orchestrator_mcp.workflows.links import natural

__all__ = ["LibraryWorkflow", "WorkflowLibrary"]

logger = logging.getLogger(__name__)

_MAX_PROBLEM: Final = 500  # characters

Signatures = tuple[Signature, Signature | None]
"""Of the workflow's file and of the file beside it, if there is one."""

Key = tuple[Path, str | None]
"""A file, and the backend to which a caller pinned its job."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What one file was when it was last read: a workflow, the reason why it is none, or nothing at all.

    Attributes:
        signature: of the files then; None: look again next time, whatever they say.
        known: digests of the catalogues then; None: whoever is known, it stays what it is.
        read: the workflow.
        view: as it is listed; None for a picture without a workflow.
        code: of the refusal.
    """

    workflow_id: str
    signature: Signatures | None
    known: tuple[str, ...] | None
    read: ReadWorkflow | None = None
    view: WorkflowView | None = None
    code: str = "workflow_unusable"


class WorkflowLibrary:
    """Workflows by name, as the folders have them at this moment.

    Args:
        folders: where they lie; of equal ids the first folder's counts. A folder that does not exist is empty.
        limits: tells how large, deep and wide a workflow may be.
        catalogues: what the backends know of their nodes, to convert what ComfyUI's page saved.
    """

    def __init__(
        self, folders: Sequence[Path], limits: Callable[[], LimitSettings], catalogues: Catalogues = none_known
    ) -> None:
        self._folders = tuple(folders)
        self._limits = limits
        self._catalogues = catalogues
        self._entries: Mapping[Key, _Entry] = MappingProxyType({})
        self._unreadable: frozenset[Path] = frozenset()

    async def list(self) -> list[WorkflowView]:
        """Every workflow, also those that cannot be used, with the reason; by id, as a person sorts."""
        views = await anyio.to_thread.run_sync(self._read_all, self._catalogues())
        return sorted(views, key=lambda view: natural(view.id))

    async def get(self, workflow_id: str, *, pin: str | None = None) -> LibraryWorkflow:
        """One workflow, as its file is now.

        Args:
            workflow_id: a key of the listing.
            pin: the only backend that shall run it: by its nodes it is converted.

        Raises:
            NotFoundError: there is none of that name.
            ManifestError: its file cannot be used; the code is `workflow_unusable`, or `no_catalogue` when it can be
                converted once a backend has answered.
        """
        entry = await anyio.to_thread.run_sync(self._read_one, workflow_id, pin, self._catalogues())
        if entry.read is not None:
            return entry.read.workflow
        called = f"the workflow {workflow_id!a} of the library"
        if entry.code == NO_CATALOGUE:
            refusal = no_catalogue(pin)
            message = f"{called} {refusal.problems[0].message}"
            raise ManifestError.at("workflow_id", message=message, code=NO_CATALOGUE, hint=refusal.hint)
        problem = "" if entry.view is None else entry.view.problem
        raise ManifestError.at("workflow_id", message=f"{called} cannot be used: {problem}", code=entry.code)

    def _read_all(self, known: Mapping[str, Catalogue]) -> Sequence[WorkflowView]:
        catalogues = that_count(known, None)
        entries: dict[Key, _Entry] = {}
        for key, path in self._scan().items():
            entry = self._entry(key, (path, None), catalogues)
            if entry is not None:
                entries[path, None] = entry
        self._entries = MappingProxyType(entries)
        return [entry.view for entry in entries.values() if entry.view is not None]

    def _read_one(self, workflow_id: str, pin: str | None, known: Mapping[str, Catalogue]) -> _Entry:
        paths = self._scan()
        name = unicodedata.normalize("NFC", workflow_id)
        key = (paths[name], pin) if name in paths else None
        entry = None if key is None else self._entry(name, key, that_count(known, pin))
        if key is None or entry is None or entry.view is None:
            raise NotFoundError("workflow", workflow_id, known=paths)
        if self._entries.get(key) is not entry:
            self._entries = MappingProxyType({**self._entries, key: entry})
        return entry

    def _scan(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        unreadable: set[Path] = set()
        for folder in self._folders:
            for key, path in workflow_files(folder, unreadable).items():
                found.setdefault(key, path)
        for folder in unreadable - self._unreadable:
            logger.warning("The workflow folder %s cannot be read; its workflows are missing.", folder)
        self._unreadable = frozenset(unreadable)
        return found

    def _entry(self, workflow_id: str, key: Key, catalogues: Sequence[Catalogue]) -> _Entry | None:
        """The file's entry, read again only if it or what it depends on changed; None when it is gone meanwhile."""
        path, digests = key[0], tuple(catalogue.digest for catalogue in catalogues)
        try:
            real = path.resolve(strict=True)
            beside = described_by(path)
            signature = (Signature.of(real.stat()), None if beside is None else Signature.of(beside.stat()))
        except (OSError, RuntimeError):
            return None
        before = self._entries.get(key)
        if before is not None and (before.signature, before.workflow_id) == (signature, workflow_id):
            if before.known in (None, digests):
                return before
            if (
                before.read is not None
                and before.known is not None
                and before.known[: before.read.tried] == digests[: before.read.tried]
            ):
                read = typed_anew(before.read, catalogues)
                return _Entry(workflow_id=workflow_id, signature=signature, known=digests, read=read, view=read.view)
        try:
            read = read_workflow(workflow_id, real, beside, limits=self._limits(), catalogues=catalogues)
        except CallerError as error:
            if not is_document(path) and _code(error) == "no_workflow":
                return _Entry(workflow_id=workflow_id, signature=signature, known=None)
            return _unusable(workflow_id, signature, digests, str(error), code=_code(error))
        except OSError as error:
            return _unusable(workflow_id, None, digests, f"The file cannot be read: {error.strerror or error}.")
        return _Entry(workflow_id=workflow_id, signature=signature, known=digests, read=read, view=read.view)


def _code(error: CallerError) -> str:
    return error.problems[0].code if isinstance(error, ManifestError) and error.problems else error.code


def _unusable(
    workflow_id: str, signature: Signatures | None, known: tuple[str, ...], problem: str, *, code: str = ""
) -> _Entry:
    short = problem if len(problem) <= _MAX_PROBLEM else f"{problem[: _MAX_PROBLEM - 1]}…"
    view = WorkflowView(id=workflow_id, title=title_from(workflow_id), problem=short)
    told = code if code == NO_CATALOGUE else "workflow_unusable"
    return _Entry(workflow_id=workflow_id, signature=signature, known=known, view=view, code=told)
