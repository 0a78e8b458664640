"""`workflows convert`: what ComfyUI's page saved, and pictures that carry it, become graphs in API format."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator_mcp.command.api import Where
from orchestrator_mcp.command.catalogues import catalogues
from orchestrator_mcp.command.ending import UsageError, say
from orchestrator_mcp.files import printable
from orchestrator_mcp.redaction import escape
from orchestrator_mcp.workflows.convert import Conversion, ConvertedFile, convert_files
from orchestrator_mcp.workflows.convert.files import problem_lines


def convert(
    files: Sequence[Path],
    where: Where,
    *,
    object_info: Path | None,
    backend: str | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Convert files, write the graphs, and sum up.

    Args:
        files: whatever holds a workflow.
        where: the orchestrator whose backends are asked for their nodes, where that is needed.
        object_info: a file with what a backend answers at `/object_info`, in place of asking.
        backend: the only backend whose nodes count.
        out: the folder for the graphs; None writes nothing.
        as_json: print the summary as JSON.

    Returns:
        The exit code: 1 when any file was refused.

    Raises:
        UsageError: the folder cannot be made, or the options are wrong.
        UnreachableError: nodes must be asked for, and no orchestrator answers.
    """
    known = catalogues(where, object_info=object_info, backend=backend)
    try:
        made = convert_files([file.expanduser() for file in files], None, further=known, out=out)
    except OSError as error:
        raise UsageError(f"{out} cannot be used: {error.strerror or error}.") from None
    if as_json:
        sys.stdout.write(json.dumps([_as_json(row) for row in made.files], indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{escape(printable(line))}\n" for line in _lines(made)))
        if out is None:
            say("Nothing was written; name a folder for the graphs with --out DIR.")
    return made.exit_code


def _lines(made: Conversion) -> Iterator[str]:
    for row in made.files:
        if row.refused:
            yield from (f"refused    {line}" for line in problem_lines([row]))
            continue
        target = f" -> {row.target}" if row.target is not None else ""
        yield f"converted  {row.source}{target}  ({row.origin}, {row.nodes} {'node' if row.nodes == 1 else 'nodes'})"
        yield from (f"           note: {warning}" for warning in row.warnings)
    refused = sum(row.refused for row in made.files)
    yield f"{len(made.files) - refused} converted, {refused} refused."


def _as_json(row: ConvertedFile) -> dict[str, object]:
    return {
        "source": printable(str(row.source)),
        "origin": row.origin,
        "nodes": row.nodes,
        "target": None if row.target is None else printable(str(row.target)),
        "warnings": list(row.warnings),
        "problems": [
            {"path": list(each.path), "message": each.message, "code": each.code, "allowed": list(each.allowed)}
            for each in row.problems
        ],
    }
