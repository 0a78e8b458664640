"""Conversion where several backends may know what a workflow needs: the first that does is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_mcp.domain.workflow_documents import NO_CATALOGUE
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.convert.conversion import Converted, convert
from orchestrator_mcp.workflows.convert.saved import ROOT

_UNKNOWN: Final = "unknown_class"


@dataclass(frozen=True, kw_only=True)
class ConvertedByOne:
    """A converted workflow.

    Attributes:
        converted: the graph.
        tried: how many catalogues were asked; the last of them knew.
    """

    converted: Converted
    tried: int


def convert_with_any(document: object, catalogues: Iterable[Mapping[str, Any]]) -> ConvertedByOne:
    """Convert a workflow from UI format by the first catalogue that can.

    Args:
        document: the parsed file.
        catalogues: each as a backend answers `GET /object_info`; no more of them are taken than are needed.

    Raises:
        ManifestError: there are no catalogues (code `no_catalogue`), or all refuse: then the refusal is that of the
            one that has most of the classes.
        TooLargeError: see `convert`.
    """
    nearest: ManifestError | None = None
    tried = 0
    for catalogue in catalogues:
        tried += 1
        try:
            return ConvertedByOne(converted=convert(document, catalogue), tried=tried)
        except ManifestError as error:
            if nearest is None or _distance(error) < _distance(nearest):
                nearest = error
        if nearest.problems and all(problem.code == "ui_format" for problem in nearest.problems):
            break  # the file itself is broken, whoever reads it
    if nearest is None:
        raise no_catalogue()
    if tried > 1 and any(problem.code == _UNKNOWN for problem in nearest.problems):
        hint = f"{tried} backends were asked; this is what the nearest of them says."
        raise ManifestError(nearest.problems, hint=hint) from nearest
    raise nearest


def no_catalogue(backend_id: str | None = None) -> ManifestError:
    """The refusal of a workflow in UI format while nobody knows what its values mean.

    Args:
        backend_id: the one backend that counts; None: any would do.
    """
    who = "no backend has answered yet" if backend_id is None else f"the backend {backend_id!r} has not answered yet"
    return ManifestError.at(
        ROOT,
        message=f"is in ComfyUI's UI format, which is converted by what the backends know of their nodes; {who}",
        code=NO_CATALOGUE,
        hint='Try again when one is online (see the list of backends), or export it in ComfyUI with "Export (API)".',
    )


def _distance(error: ManifestError) -> tuple[int, int]:
    """How far a refusal is from none: classes that are missing count first."""
    return sum(problem.code == _UNKNOWN for problem in error.problems), len(error.problems)
