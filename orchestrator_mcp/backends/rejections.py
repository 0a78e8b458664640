"""Reads the answers to `POST /prompt`: what was accepted, and why a graph was refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from orchestrator_mcp.backends import shapes
from orchestrator_mcp.errors import MissingThing, PromptRejectedError

_MOST_NODES: Final = 200
_MOST_ERRORS: Final = 50
_NO_SUCH_CLASS: Final = re.compile(r"^Cannot execute because node (?P<name>.+) does not exist\.?$")
_NODE_ID: Final = re.compile(r"^Node ID '#(?P<id>.+)'$")
_NO_SUCH_FILE: Final = re.compile(r"Invalid (?:image|mask|audio|video|model) file: (?P<name>.+)$")
_MODEL_FILE: Final = re.compile(
    r"\.(safetensors|sft|ckpt|pt|pt2|pth|bin|gguf|onnx|engine|pkl|yaml|yml|json|npz)$", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A backend took a graph.

    Attributes:
        prompt_id: what the backend calls it; another id than ours on servers before 0.3.45.
        number: its place in the queue; falls when the backend restarts.
        node_errors: outputs that were dropped although the rest runs; same shape as in a rejection.
    """

    prompt_id: str
    number: float
    node_errors: list[dict[str, Any]]


def parse_submission(document: object) -> Submission:
    """Read a 200 to `POST /prompt`.

    Args:
        document: the parsed JSON.

    Raises:
        ValueError: it has no prompt id.
    """
    found = shapes.record(document)
    prompt_id = shapes.identifier(found.get("prompt_id"))
    if prompt_id is None:
        raise ValueError("it has no prompt_id")
    number = shapes.number(found.get("number"))
    return Submission(
        prompt_id=prompt_id,
        number=0.0 if number is None else number,
        node_errors=_node_errors(found.get("node_errors")),
    )


def parse_rejection(document: object, *, backend_id: str) -> PromptRejectedError | None:
    """Read a 400 to `POST /prompt`.

    Args:
        document: the parsed JSON.
        backend_id: who refused.

    Returns:
        The error to raise; None if this is not ComfyUI's way to refuse a graph.
    """
    error = shapes.record(document).get("error")
    if isinstance(error, str):  # servers before 2023-07, and some packs, send plain words
        error = {"type": "rejected", "message": error}
    if not isinstance(error, dict) or not isinstance(error.get("type"), str):
        return None
    nodes = shapes.record(document).get("node_errors")
    details = {
        "type": shapes.words(error["type"], 100),
        "message": shapes.words(error.get("message")),
        "details": shapes.words(error.get("details")),
        "node_errors": _node_errors(nodes),
    }
    return PromptRejectedError(
        _sentence(backend_id, details),
        backend_id=backend_id,
        details=details,
        missing=(*_missing_class(error), *_missing_values(nodes)),
    )


def too_large(*, backend_id: str, size: int) -> PromptRejectedError:
    """The error for a 413: the same graph will never fit there.

    Args:
        backend_id: who refused.
        size: bytes that were sent.
    """
    return PromptRejectedError(
        f"Backend {backend_id} refuses the graph because it is too large ({size} bytes).",
        backend_id=backend_id,
        hint="Upload pictures instead of writing them into the graph, or raise --max-upload-size there.",
        details={"type": "too_large", "message": "Request body too large", "details": "", "node_errors": []},
    )


def _sentence(backend_id: str, details: Mapping[str, Any]) -> str:
    nodes: list[dict[str, Any]] = details["node_errors"]
    spelled = [
        f"node {node['node_id']} ({node['class_type']}): {error['message']}: {error['details']}".rstrip(": ")
        for node in nodes
        for error in node["errors"]
    ]
    if not spelled:
        spelled = [" ".join(filter(None, dict.fromkeys((details["message"], details["details"]))))]
    more = f"; and {len(spelled) - 3} more" if len(spelled) > 3 else ""
    return f"Backend {backend_id} refuses the graph: {shapes.words('; '.join(spelled[:3])).rstrip('.')}{more}."


def _node_errors(value: object) -> list[dict[str, Any]]:
    return [
        {
            "node_id": shapes.words(node_id, 200),
            "class_type": shapes.words(shapes.record(said).get("class_type"), 200),
            "errors": [
                {
                    "type": shapes.words(error.get("type"), 100),
                    "message": shapes.words(error.get("message"), 500),
                    "details": shapes.words(error.get("details"), 1_000),
                    "input_name": shapes.words(shapes.record(error.get("extra_info")).get("input_name"), 200) or None,
                }
                for error in _errors_of(said)
            ],
        }
        for node_id, said in list(shapes.record(value).items())[:_MOST_NODES]
    ]


def _errors_of(said: object) -> list[Mapping[str, Any]]:
    return [shapes.record(error) for error in shapes.items(shapes.record(said).get("errors"))[:_MOST_ERRORS]]


def _missing_class(error: Mapping[str, Any]) -> Iterator[MissingThing]:
    """0.3.64 says it in words, newer servers in fields."""
    extra = shapes.record(error.get("extra_info"))
    spelled = _NO_SUCH_CLASS.match(shapes.words(error.get("message")))
    place = _NODE_ID.match(shapes.words(error.get("details")))
    if error.get("type") != "missing_node_type" and spelled is None:
        return
    name = shapes.words(extra.get("class_type"), 200) or (spelled["name"] if spelled else "")
    node_id = shapes.words(extra.get("node_id"), 200) or (place["id"] if place else "")
    if name:
        yield MissingThing(kind="node", name=name, node_id=node_id)


def _missing_values(value: object) -> Iterator[MissingThing]:
    for node_id, said in list(shapes.record(value).items())[:_MOST_NODES]:
        for error in _errors_of(said):
            found = _missing_value(shapes.words(node_id, 200), error)
            if found is not None:
                yield found


def _missing_value(node_id: str, error: Mapping[str, Any]) -> MissingThing | None:
    received = shapes.words(shapes.record(error.get("extra_info")).get("received_value"), 500)
    if error.get("type") == "value_not_in_list" and received:
        kind: Literal["model", "option"] = "model" if _MODEL_FILE.search(received) else "option"
        return MissingThing(kind=kind, name=received, node_id=node_id)
    if error.get("type") == "custom_validation_failed":
        spelled = _NO_SUCH_FILE.search(shapes.words(error.get("details")))
        return MissingThing(kind="file", name=spelled["name"], node_id=node_id) if spelled else None
    return None
