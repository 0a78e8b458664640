"""Reads what a ComfyUI WebSocket says: a frame in, a value out. Pure, and it never raises: events are hints."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from orchestrator_mcp.backends import shapes
from orchestrator_mcp.backends.history import DeclaredOutput, NodeFailure, declared_outputs, parse_failure

_PREVIEW: Final = 1
_TEXT: Final = 3
_PREVIEW_WITH_METADATA: Final = 4
_PREVIEW_FORMATS: Final = {1: "image/jpeg", 2: "image/png"}
_PREVIEW_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
_MOST_NODES: Final = 20_000
_WORD: Final = struct.Struct(">I")


@dataclass(frozen=True, kw_only=True)
class StatusChanged:
    """How many prompts a backend has, pending and running; `sid` is our client id, told once."""

    queue_remaining: int
    sid: str | None = None


@dataclass(frozen=True, kw_only=True)
class PromptMessage:
    """Something that happened to one prompt."""

    prompt_id: str


@dataclass(frozen=True, kw_only=True)
class PromptStarted(PromptMessage):
    """The worker took the prompt; `at_ms` by the backend's clock."""

    at_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class NodesCached(PromptMessage):
    """These nodes need not run."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NodeStarted(PromptMessage):
    """A node runs; `shown_as` is the node of the graph if this one came from an expansion."""

    node: str
    shown_as: str


@dataclass(frozen=True, kw_only=True)
class NodeProgressed(PromptMessage):
    """A tick of the running node: `value` of `maximum`."""

    node: str | None
    value: float
    maximum: float


class NodeProgress(NamedTuple):
    """How far one node is."""

    state: str
    value: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class GraphProgressed(PromptMessage):
    """All nodes that have started so far, by id."""

    nodes: Mapping[str, NodeProgress]


@dataclass(frozen=True, kw_only=True)
class NodeFinished(PromptMessage):
    """A node with something to show is done; `outputs` is what it declares."""

    node: str
    outputs: tuple[DeclaredOutput, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PromptSucceeded(PromptMessage):
    """It ended well; its history may not be written yet."""

    at_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class PromptFailed(PromptMessage):
    """A node raised."""

    failure: NodeFailure


@dataclass(frozen=True, kw_only=True)
class PromptInterrupted(PromptMessage):
    """It was stopped at this node."""

    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class PromptFinished(PromptMessage):
    """It is over, well or not, and its history is written."""


@dataclass(frozen=True, kw_only=True)
class PreviewReceived:
    """A picture of the work under way; older servers do not say whose."""

    media_type: str
    image: bytes = field(repr=False)
    prompt_id: str | None = None
    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class TextReceived:
    """A line that a node shows; sent to everybody, so it does not say whose."""

    node: str
    text: str
    prompt_id: str | None = None


Message = (
    StatusChanged
    | PromptStarted
    | NodesCached
    | NodeStarted
    | NodeProgressed
    | GraphProgressed
    | NodeFinished
    | PromptSucceeded
    | PromptFailed
    | PromptInterrupted
    | PromptFinished
    | PreviewReceived
    | TextReceived
)


def parse_message(frame: str | bytes) -> Message | None:
    """Read one frame.

    Args:
        frame: text or binary, as it came.

    Returns:
        What it says; None if it is malformed, of an unknown type, or cannot be laid to a prompt.
    """
    if isinstance(frame, bytes):
        return _parse_binary(frame)
    try:
        document = shapes.record(shapes.parse_json(frame))
    except ValueError:
        return None
    kind, said = document.get("type"), shapes.record(document.get("data"))
    if kind == "status":
        return _status(said)
    prompt_id = shapes.identifier(said.get("prompt_id"))
    read = _READERS.get(kind) if isinstance(kind, str) else None
    return read(prompt_id, said) if read is not None and prompt_id is not None else None


def _status(said: Mapping[str, Any]) -> StatusChanged | None:
    execution = shapes.record(shapes.record(said.get("status")).get("exec_info"))
    remaining = shapes.whole(execution.get("queue_remaining"))
    if remaining is None or remaining < 0:
        return None
    return StatusChanged(queue_remaining=remaining, sid=shapes.identifier(said.get("sid")))


def _started(prompt_id: str, said: Mapping[str, Any]) -> Message:
    return PromptStarted(prompt_id=prompt_id, at_ms=shapes.whole(said.get("timestamp")))


def _cached(prompt_id: str, said: Mapping[str, Any]) -> Message:
    return NodesCached(prompt_id=prompt_id, nodes=shapes.identifiers(said.get("nodes")))


def _executing(prompt_id: str, said: Mapping[str, Any]) -> Message | None:
    if "node" in said and said["node"] is None:
        return PromptFinished(prompt_id=prompt_id)
    node = shapes.identifier(said.get("node"))
    if node is None:
        return None
    return NodeStarted(prompt_id=prompt_id, node=node, shown_as=shapes.identifier(said.get("display_node")) or node)


def _progressed(prompt_id: str, said: Mapping[str, Any]) -> Message | None:
    value, maximum = shapes.number(said.get("value")), shapes.number(said.get("max"))
    if value is None or maximum is None:
        return None
    return NodeProgressed(prompt_id=prompt_id, node=shapes.identifier(said.get("node")), value=value, maximum=maximum)


def _graph_progressed(prompt_id: str, said: Mapping[str, Any]) -> Message | None:
    listed = said.get("nodes")
    if not isinstance(listed, dict) or len(listed) > _MOST_NODES:
        return None
    read = ((shapes.identifier(node), _node_progress(shapes.record(state))) for node, state in listed.items())
    return GraphProgressed(
        prompt_id=prompt_id, nodes={node: state for node, state in read if node is not None and state is not None}
    )


def _node_progress(state: Mapping[str, Any]) -> NodeProgress | None:
    value, maximum = shapes.number(state.get("value")), shapes.number(state.get("max"))
    if value is None or maximum is None:
        return None
    return NodeProgress(shapes.words(state.get("state"), 40), value, maximum)


def _executed(prompt_id: str, said: Mapping[str, Any]) -> Message | None:
    node = shapes.identifier(said.get("node"))
    if node is None:
        return None
    shown_as = shapes.identifier(said.get("display_node")) or node
    return NodeFinished(
        prompt_id=prompt_id, node=node, outputs=declared_outputs(shown_as, said.get("output"), source_node=node)
    )


def _succeeded(prompt_id: str, said: Mapping[str, Any]) -> Message:
    return PromptSucceeded(prompt_id=prompt_id, at_ms=shapes.whole(said.get("timestamp")))


def _failed(prompt_id: str, said: Mapping[str, Any]) -> Message | None:
    failure = parse_failure(said)
    # A node behind a blocked branch reports an error too, and the prompt goes on.
    return None if failure.exception_type == "ExecutionBlocked" else PromptFailed(prompt_id=prompt_id, failure=failure)


def _interrupted(prompt_id: str, said: Mapping[str, Any]) -> Message:
    return PromptInterrupted(prompt_id=prompt_id, node=shapes.identifier(said.get("node_id")))


_READERS: Final[Mapping[str, Callable[[str, Mapping[str, Any]], Message | None]]] = {
    "execution_start": _started,
    "execution_cached": _cached,
    "executing": _executing,
    "progress": _progressed,
    "progress_state": _graph_progressed,
    "executed": _executed,
    "execution_success": _succeeded,
    "execution_error": _failed,
    "execution_interrupted": _interrupted,
}


def _parse_binary(frame: bytes) -> Message | None:
    if len(frame) < _WORD.size:
        return None
    (event,) = _WORD.unpack_from(frame)
    body = frame[_WORD.size :]
    if event == _PREVIEW:
        return _preview(body)
    if event == _TEXT:
        return _text(body)
    return _preview_with_metadata(body) if event == _PREVIEW_WITH_METADATA else None


def _preview(body: bytes) -> PreviewReceived | None:
    if len(body) <= _WORD.size:
        return None
    media_type = _PREVIEW_FORMATS.get(_WORD.unpack_from(body)[0])
    return PreviewReceived(media_type=media_type, image=body[_WORD.size :]) if media_type else None


def _text(body: bytes) -> TextReceived | None:
    head, rest = _split(body)
    node = shapes.identifier(head.decode("utf-8", "replace")) if head is not None else None
    if node is None:
        return None
    return TextReceived(node=node, text=shapes.prose(rest.decode("utf-8", "replace"), shapes.TEXT_LIMIT))


def _preview_with_metadata(body: bytes) -> PreviewReceived | None:
    head, image = _split(body)
    if head is None or not image:
        return None
    try:
        said = shapes.record(shapes.parse_json(head))
    except ValueError:
        return None
    media_type = said.get("image_type")
    if not isinstance(media_type, str) or media_type not in _PREVIEW_TYPES:
        return None
    return PreviewReceived(
        media_type=media_type,
        image=image,
        prompt_id=shapes.identifier(said.get("prompt_id")),
        node=shapes.identifier(said.get("display_node_id")) or shapes.identifier(said.get("node_id")),
    )


def _split(body: bytes) -> tuple[bytes | None, bytes]:
    """The length-prefixed head and what follows it; no head if the length is wrong."""
    if len(body) < _WORD.size:
        return None, b""
    (length,) = _WORD.unpack_from(body)
    end = _WORD.size + length
    return (body[_WORD.size : end], body[end:]) if end <= len(body) else (None, b"")
