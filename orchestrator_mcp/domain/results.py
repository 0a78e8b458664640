"""A `result.json`, read back as the manifest of the same render: also where nobody knows the job. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from orchestrator_mcp.domain.manifests import MAX_PRIORITY, MAX_TEXT
from orchestrator_mcp.domain.references import JobReference, parse_reference
from orchestrator_mcp.errors import ManifestError

RESULT_SCHEMA: Final = "orchestrator-result/1"
BATCH_SCHEMA: Final = "orchestrator-batch/1"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def is_result(document: object) -> bool:
    """Whether a document says that it is the `result.json` of a job.

    Args:
        document: any parsed JSON.
    """
    return isinstance(document, dict) and document.get("schema") == RESULT_SCHEMA


def refuse_batch_result(document: dict[str, Any]) -> None:
    """Refuse the `result.json` of a batch: read as a manifest it would be one job of its workflow, and no batch.

    Args:
        document: any parsed JSON object.

    Raises:
        ManifestError: it is one.
    """
    if document.get("schema") == BATCH_SCHEMA:
        raise ManifestError.at(
            "schema",
            message="this is the result.json of a batch; it holds no graph that could be rendered again",
            code="batch_result",
            hint="Take the result.json of one of its jobs; `jobs` in it names their folders. A batch is done again by "
            "handing in its manifest.",
        )


def manifest_of_result(document: dict[str, Any]) -> dict[str, Any]:
    """The document of a manifest that does a finished job again, from the graph that its result holds.

    Args:
        document: of a `result.json`, of this farm or another; hostile.

    Returns:
        It need not be a valid manifest: it is checked as any other.

    Raises:
        ManifestError: there is no graph in it.
    """
    graph = document.get("graph")
    if not isinstance(graph, dict) or not graph:
        raise ManifestError.at(
            "graph",
            message="this result.json holds no graph, so there is nothing that could be rendered again",
            code="no_graph",
        )
    priority = document.get("priority")
    whole = isinstance(priority, int) and not isinstance(priority, bool) and abs(priority) <= MAX_PRIORITY
    metadata = document.get("metadata")
    said = {
        "workflow_id": _text(document.get("workflow_id")),
        "rerun_of": _text(document.get("job_id")),
        "priority": priority if whole else None,
        "metadata": metadata if isinstance(metadata, dict) else None,
        "parameters": {**dict(_awaited(graph)), **dict(_begun_with(document.get("inputs")))},
    }
    return {"workflow": graph, **{name: value for name, value in said.items() if value}}


def stem_of_result(document: dict[str, Any]) -> str | None:
    """How the folder of a result was called; None when it does not say.

    Args:
        document: of a `result.json`; hostile.
    """
    return _text(document.get("stem")) or _text(document.get("workflow_id"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable() else None


def _begun_with(inputs: object) -> Iterator[tuple[str, str]]:
    """The files that the render began with, by content: a farm that has them not refuses the job, and says which."""
    for one in inputs if isinstance(inputs, list) else ():
        said = one if isinstance(one, dict) else {}
        target, sha256 = _text(said.get("target")), said.get("sha256")
        if target is not None and isinstance(sha256, str) and _SHA256.fullmatch(sha256):
            yield target, f"asset:{sha256}"


def _awaited(graph: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Outputs of other jobs that were never handed over: they are waited for again."""
    for node, said in graph.items():
        inputs = said.get("inputs") if isinstance(said, dict) else None
        for name, value in inputs.items() if isinstance(inputs, dict) else ():
            if isinstance(value, str) and value.startswith("job:"):
                try:
                    reference = parse_reference(value)
                except ValueError:
                    continue
                if isinstance(reference, JobReference):
                    yield f"{node}.{name}", value
