"""Which JSON documents are a workflow rather than a manifest with one in it. Pure."""

from __future__ import annotations

from typing import Any, Final

from orchestrator_mcp.domain.manifests import MAX_TEXT
from orchestrator_mcp.domain.results import is_result, manifest_of_result, refuse_batch_result

NO_CATALOGUE: Final = "no_catalogue"
"""The code of a refusal that may be lifted at any moment: nobody knows yet what nodes there are."""

_SAYS_MANIFEST: Final = frozenset({"workflow_id", "workflow", "workflow_json"})


def looks_like_ui(document: object) -> bool:
    """Whether a document is meant to be a workflow as ComfyUI's page saves it.

    Args:
        document: any parsed JSON.
    """
    return isinstance(document, dict) and isinstance(document.get("nodes"), list)


def is_api(document: object) -> bool:
    """Whether a document is a graph in API format, with or without the wrapper of ComfyUI's own POST.

    Args:
        document: any parsed JSON.
    """
    if not isinstance(document, dict) or looks_like_ui(document):
        return False
    inner = document.get("prompt")
    if isinstance(inner, dict) and not isinstance(inner.get("class_type"), str):
        document = inner
    return bool(document) and all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
        for node in document.values()
    )


def as_manifest(document: dict[str, Any], *, label: str | None = None) -> dict[str, Any]:
    """The document itself, unless it is a workflow, or a result to be done again: then a manifest with that workflow.

    Args:
        document: a parsed JSON object.
        label: what the workflow is called, such as the file's name without its ending; hostile.

    Returns:
        A document of a manifest; it need not be a valid one.

    Raises:
        ManifestError: it is a result without a graph, or that of a batch.
    """
    refuse_batch_result(document)
    if is_result(document):
        return manifest_of_result(document)
    if _SAYS_MANIFEST & document.keys() or not (looks_like_ui(document) or _may_be_api(document)):
        return document
    return around(document, label=label)


def around(workflow: dict[str, Any], *, label: str | None = None) -> dict[str, Any]:
    """A manifest with a workflow and nothing else.

    Args:
        workflow: in any format.
        label: see `as_manifest`.
    """
    called = "".join(letter if letter.isprintable() else "_" for letter in label or "").strip()[:MAX_TEXT]
    return {"workflow": workflow, **({"workflow_id": called} if called else {})}


def is_around(document: dict[str, Any]) -> bool:
    """Whether a document is what `around` makes: a workflow, and nothing else that a manifest may say."""
    return "workflow" in document and document.keys() <= {"workflow", "workflow_id"}


def _may_be_api(document: dict[str, Any]) -> bool:
    """Whether it is a graph, or is meant to be one: a broken node is told as such, not as a missing workflow_id."""
    if isinstance(document.get("prompt"), dict):
        return True
    return any(isinstance(node, dict) and "class_type" in node for node in document.values())
