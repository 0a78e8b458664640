"""Converts whole files: reads them, finds the workflow in them, writes the API graphs and sums up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.workflow_documents import is_api, looks_like_ui
from orchestrator_mcp.errors import CallerError, ManifestError, Problem
from orchestrator_mcp.files import open_regular, unique_names, write_durably
from orchestrator_mcp.workflows.convert.opening import open_workflow
from orchestrator_mcp.workflows.convert.several import convert_with_any
from orchestrator_mcp.workflows.graph import check_graph

Origin = Literal["ui", "api", "embedded prompt", "embedded workflow"]


@dataclass(frozen=True, kw_only=True)
class ConvertedFile:
    """What became of one file: a row of the summary.

    Attributes:
        source: the file.
        origin: what was found in it; None when nothing was.
        nodes: how many nodes the graph has; 0 when there is none.
        target: the file that was written; None when none was.
        warnings: what could not be followed and does not matter, in words.
        problems: why it was refused; empty when it was converted.
    """

    source: Path
    origin: Origin | None = None
    nodes: int = 0
    target: Path | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether there is no graph."""
        return bool(self.problems)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What became of all files.

    Attributes:
        files: one row for each, in the order of the command line.
    """

    files: tuple[ConvertedFile, ...]

    @property
    def exit_code(self) -> int:
        """1 when any file was refused, else 0."""
        return int(any(row.refused for row in self.files))


@dataclass(frozen=True, kw_only=True)
class LoadedGraph:
    """The graph of a file.

    Attributes:
        graph: it, in API format and structurally checked.
        origin: where in the file it came from.
        warnings: what could not be followed and does not matter, in words.
    """

    graph: Graph
    origin: Origin
    warnings: tuple[str, ...] = ()


def convert_files(
    sources: Sequence[Path],
    catalogue: Mapping[str, Any] | None,
    *,
    further: Iterable[Mapping[str, Any]] = (),
    out: Path | None = None,
) -> Conversion:
    """Convert files of any kind that holds a workflow.

    Args:
        sources: the files: JSON in UI or API format, and everything `find_workflow` reads.
        catalogue: class -> definition, as a backend answers `GET /object_info`; None: it is not known.
        further: what other backends answer; looked at, and looked at anew for each file, only where it is refused.
        out: the folder for the graphs, made if needed; `<stem>.json` each, equal stems numbered. None: nothing is
            written.

    Raises:
        OSError: the folder cannot be made.
    """
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    names = unique_names(f"{source.stem}.json" for source in sources)
    own = {source.resolve() for source in sources}
    known = () if catalogue is None else (catalogue,)
    return Conversion(
        files=tuple(
            _convert_file(source, chain(known, further), None if out is None else out / name, own)
            for source, name in zip(sources, names, strict=True)
        )
    )


def load_graph(content: bytes | BinaryIO, catalogues: Iterable[Mapping[str, Any]]) -> LoadedGraph:
    """Make a graph of the content of any file that holds a workflow.

    Args:
        content: the bytes of the file, or the open file; hostile until they are read here.
        catalogues: class -> definition, for each backend; the first that knows all classes is taken.

    Raises:
        ManifestError: there is no workflow in it, or one that cannot be converted faithfully.
        TooLargeError: it is too large.
        OSError: the file cannot be read.
    """
    opened = open_workflow(content)
    document = opened.document
    if opened.embedded == "prompt":
        return LoadedGraph(graph=check_graph(document), origin="embedded prompt", warnings=opened.warnings)
    if opened.embedded == "workflow" or looks_like_ui(document):
        made = convert_with_any(document, catalogues).converted
        origin: Origin = "ui" if opened.embedded is None else "embedded workflow"
        return LoadedGraph(graph=check_graph(made.graph), origin=origin, warnings=(*opened.warnings, *made.warnings))
    if is_api(document):
        return LoadedGraph(graph=check_graph(document), origin="api")
    message = "The document is no workflow: it has neither `nodes` nor entries with a `class_type`."
    raise ManifestError([Problem(path=(), message=message, code="no_workflow")])


def _convert_file(
    source: Path, catalogues: Iterable[Mapping[str, Any]], target: Path | None, own: Set[Path]
) -> ConvertedFile:
    if target is not None and target.resolve() in own:
        return _refused(
            source, f"The graph would replace {target}, which is one of the files; take another folder.", "file"
        )
    try:
        with open_regular(source) as file:
            loaded = load_graph(file, catalogues)
        if target is not None:
            text = json.dumps(loaded.graph, indent=2, ensure_ascii=False, allow_nan=False)
            write_durably(target, f"{text}\n".encode())
    except ManifestError as error:
        return ConvertedFile(source=source, problems=error.problems)
    except CallerError as error:
        return _refused(source, str(error), error.code)
    except OSError as error:
        return _refused(source, f"{error.filename or source}: {error.strerror or error}.", "file")
    return ConvertedFile(
        source=source,
        origin=loaded.origin,
        nodes=len(loaded.graph),
        target=target,
        warnings=loaded.warnings,
    )


def _refused(source: Path, message: str, code: str) -> ConvertedFile:
    return ConvertedFile(source=source, problems=(Problem(path=(), message=message, code=code),))


def problem_lines(rows: Iterable[ConvertedFile]) -> list[str]:
    """One line for each problem, `file: where: what`, for people.

    Args:
        rows: the rows of a summary.
    """
    return [
        f"{row.source}: {'.'.join(map(str, problem.path))}{': ' if problem.path else ''}{problem.message}"
        for row in rows
        for problem in row.problems
    ]
