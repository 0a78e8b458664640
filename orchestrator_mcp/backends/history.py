"""Reads `GET /history/{id}`: how a prompt ended, and what it says it made. Pure; hostile shapes never crash it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from orchestrator_mcp.backends import shapes

Verdict = Literal["succeeded", "errored", "interrupted", "unclear"]
OutputKind = Literal["image", "video", "audio", "text", "model", "file"]

MOST_OUTPUTS: Final = 10_000
TRACEBACK_LIMIT: Final = 16_000
CAPTION_LIMIT: Final = 1_000_000
MARKER_KEY: Final = "orchestrator"
"""The key of `extra_data` under which our marker travels."""

_NESTING_LIMIT: Final = 4
_SUFFIXES: Final[Mapping[OutputKind, str]] = {
    "image": "png jpg jpeg jfif webp gif bmp tif tiff avif heic heif jxl exr hdr apng",
    "video": "mp4 webm mov mkv avi m4v mpg mpeg ogv",
    "audio": "wav flac mp3 ogg opus m4a aac",
    "text": "txt json csv md srt vtt log yaml yml xml",
    "model": "glb gltf obj fbx stl ply usdz splat spz",
}
_KIND_OF_SUFFIX: Final[Mapping[str, OutputKind]] = {
    suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}


@dataclass(frozen=True, kw_only=True)
class NodeFailure:
    """The node that raised, and what it said.

    Attributes:
        node_id: as the server names it; inside an expanded node it is longer than an id of the graph.
        node_type: its class.
        exception_type: for example `torch.OutOfMemoryError`.
        message: one line, at most 2,000 characters.
        traceback: the last 16,000 characters.
    """

    node_id: str
    node_type: str
    exception_type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class DeclaredOutput:
    """Something a prompt says it made: a file to be fetched, or a text that is here already.

    Attributes:
        node_id: the node of the submitted graph that shows it.
        source_node: the node that made it; another one when a node expanded into several.
        filename: the backend's name; empty for a text that came without a file.
        subfolder: the backend's folder below `type`.
        type: `output`, `temp` or `input`.
        key: the list in which it stood (`images`, `gifs`, `audio`, ...); says nothing about the kind.
        kind: by the extension of the name.
        text: the text itself, if there is no file.
        format: what the node says about the format, for example `video/h264-mp4`.
        animated: the node says that its pictures move.
    """

    node_id: str
    source_node: str
    filename: str
    subfolder: str
    type: Literal["output", "temp", "input"]
    key: str
    kind: OutputKind
    text: str | None = None
    format: str | None = None
    animated: bool = False

    @property
    def temporary(self) -> bool:
        """Whether the backend throws the file away at its next start."""
        return self.type == "temp"


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """What a backend remembers of a prompt that has ended.

    Attributes:
        prompt_id: the prompt.
        verdict: how it ended.
        outputs: everything declared; after a failure it is a part.
        failure: the node that raised, if one did.
        started_at_ms: milliseconds since the Unix epoch by the backend's clock.
        ended_at_ms: the same.
        cached_nodes: nodes that did not have to run.
        expected_outputs: the output nodes that passed validation.
        number: the backend's counter; falls when it restarts.
        marker: what we put into `extra_data`.
        unreadable: how many declared files had a name that cannot be one.
        silent: the server does not tell how prompts end (before 2024); the verdict follows from what was made.
    """

    prompt_id: str
    verdict: Verdict
    outputs: tuple[DeclaredOutput, ...] = ()
    failure: NodeFailure | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    cached_nodes: tuple[str, ...] = ()
    expected_outputs: tuple[str, ...] = ()
    number: float | None = None
    marker: dict[str, Any] | None = None
    unreadable: int = 0
    silent: bool = False


def kind_of(name: str) -> OutputKind:
    """The kind of a file by the extension of its name.

    Args:
        name: a file name with either kind of slash.
    """
    suffix = PurePosixPath(name.replace("\\", "/")).suffix.lstrip(".").casefold()
    return _KIND_OF_SUFFIX.get(suffix, "file")


def chosen_outputs(entry: HistoryEntry) -> tuple[DeclaredOutput, ...]:
    """What a job delivers: texts and saved files; temporary files only where nothing was saved; never inputs.

    Args:
        entry: how the prompt ended.
    """
    saved = any(output.type == "output" and output.text is None for output in entry.outputs)
    return tuple(
        output
        for output in entry.outputs
        if output.text is not None or output.type == "output" or (output.temporary and not saved)
    )


def newest_in(document: object) -> str | None:
    """The prompt that ended last in an answer to `GET /history`: entries come in the order in which they ended.

    Raises:
        ValueError: it is no history.
    """
    if not isinstance(document, dict):
        raise ValueError("it is no history")
    return str(next(reversed(document))) if document else None


def marked_in(document: object, marker: Mapping[str, Any]) -> HistoryEntry | None:
    """The newest prompt in an answer to `GET /history` that has our marker.

    Args:
        document: the parsed JSON.
        marker: as we sent it.

    Raises:
        ValueError: it is no history.
    """
    if not isinstance(document, dict):
        raise ValueError("it is no history")
    for prompt_id in reversed(document):
        item = shapes.items(shapes.record(document[prompt_id]).get("prompt"))
        if len(item) > 3 and marker_of(item[3]) == marker:
            return parse_history(document, prompt_id)
    return None


def parse_history(document: object, prompt_id: str) -> HistoryEntry | None:
    """Read the answer to `GET /history/{id}`.

    Args:
        document: the parsed JSON.
        prompt_id: whose entry is wanted.

    Returns:
        The entry; None if there is none (pending, running, forgotten and unknown look the same).

    Raises:
        ValueError: it is no history, so it does not say that the prompt is absent either.
    """
    if not isinstance(document, dict) or (document and prompt_id not in document):
        raise ValueError("it is no history of that prompt")
    if not document:
        return None
    entry = shapes.record(document[prompt_id])
    item = shapes.items(entry.get("prompt"))
    status = shapes.record(entry.get("status"))
    told = tuple(_messages(status.get("messages")))
    outputs, unreadable = _declared(entry)
    expected = shapes.identifiers(item[4]) if len(item) > 4 else ()
    complete = bool(outputs) and shapes.record(entry.get("outputs")).keys() >= set(expected)
    return HistoryEntry(
        prompt_id=prompt_id,
        verdict=_verdict(status, told, complete=complete),
        outputs=outputs,
        failure=next((parse_failure(said) for event, said in told if event == "execution_error"), None),
        started_at_ms=_time_of(told, "execution_start"),
        ended_at_ms=_time_of(told, "execution_success", "execution_error", "execution_interrupted"),
        cached_nodes=_cached(told),
        expected_outputs=expected,
        number=shapes.number(item[0]) if item else None,
        marker=marker_of(item[3]) if len(item) > 3 else None,
        unreadable=unreadable,
        silent=not status,
    )


def parse_failure(said: object) -> NodeFailure:
    """Read what an `execution_error` carries; its copies of the inputs and outputs are left behind.

    Args:
        said: the event's `data`.
    """
    event = shapes.record(said)
    lines = "".join(line for line in shapes.items(event.get("traceback"))[:200] if isinstance(line, str))
    return NodeFailure(
        node_id=shapes.words(event.get("node_id"), 200),
        node_type=shapes.words(event.get("node_type"), 200),
        exception_type=shapes.words(event.get("exception_type"), 200),
        message=shapes.words(event.get("exception_message")),
        traceback=shapes.prose(lines[-TRACEBACK_LIMIT:], TRACEBACK_LIMIT),
    )


def marker_of(extra_data: object) -> dict[str, Any] | None:
    """Our marker in a queue or history item's `extra_data`, if it is there.

    Args:
        extra_data: the fourth element of the item.
    """
    found = shapes.record(extra_data).get(MARKER_KEY)
    return found if isinstance(found, dict) else None


def declared_outputs(node_id: str, said: object, *, source_node: str | None = None) -> tuple[DeclaredOutput, ...]:
    """What one node declares; the same shape stands in history and in an `executed` event.

    Args:
        node_id: the node of the graph that shows it.
        said: key -> list; every list is walked.
        source_node: the node that made it, if another.
    """
    read = _read_node(node_id, source_node or node_id, said)
    return tuple(output for output in read if output is not None)


def _verdict(status: Mapping[str, Any], told: tuple[tuple[str, Mapping[str, Any]], ...], *, complete: bool) -> Verdict:
    events = {event for event, _ in told}
    if "execution_error" in events:  # a dependency cycle says "success" beside it
        return "errored"
    if "execution_interrupted" in events:
        return "interrupted"
    if "execution_success" in events:
        return "succeeded"
    return _verdict_without_messages(status, complete=complete)


def _verdict_without_messages(status: Mapping[str, Any], *, complete: bool) -> Verdict:
    spelled, completed = status.get("status_str"), status.get("completed")
    if spelled == "error":
        return "errored"
    if spelled == "success" and completed is not False:
        return "succeeded"
    return "succeeded" if not status and complete else "unclear"


def _messages(value: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for pair in shapes.items(value)[:MOST_OUTPUTS]:
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str):
            yield pair[0], shapes.record(pair[1])


def _time_of(told: tuple[tuple[str, Mapping[str, Any]], ...], *events: str) -> int | None:
    return next((shapes.whole(said.get("timestamp")) for event, said in told if event in events), None)


def _cached(told: tuple[tuple[str, Mapping[str, Any]], ...]) -> tuple[str, ...]:
    return next((shapes.identifiers(said.get("nodes")) for event, said in told if event == "execution_cached"), ())


def _declared(entry: Mapping[str, Any]) -> tuple[tuple[DeclaredOutput, ...], int]:
    meta = shapes.record(entry.get("meta"))
    found: dict[object, DeclaredOutput] = {}
    unreadable = 0
    for source, said in shapes.record(entry.get("outputs")).items():
        node = _shown_by(source, shapes.record(meta.get(source)))
        for output in _read_node(node, source, said):
            if output is None:
                unreadable += 1
            elif len(found) < MOST_OUTPUTS:
                found.setdefault(_identity(output), output)
    return tuple(found.values()), unreadable


def _shown_by(source: str, meta: Mapping[str, Any]) -> str:
    shown = shapes.identifier(meta.get("display_node")) or shapes.identifier(meta.get("real_node_id"))
    return shown or shapes.words(source, 200)


def _identity(output: DeclaredOutput) -> object:
    """Packs list one file under several keys; two equal texts are still two texts."""
    return object() if output.text is not None else (output.type, output.subfolder, output.filename)


def _read_node(node_id: str, source: str, said: object) -> Iterator[DeclaredOutput | None]:
    output = shapes.record(said)
    animated = any(item is True for item in shapes.items(output.get("animated"))[:MOST_OUTPUTS])
    for key, listed in output.items():
        for item in _walk(listed, _NESTING_LIMIT):
            if isinstance(item, dict) and "filename" in item:
                yield _file(node_id, source, key, item, animated=animated)
            elif isinstance(item, str) and key == "text":
                yield _text(node_id, source, key, item)


def _walk(value: object, depth: int) -> Iterator[object]:
    if not isinstance(value, list):
        yield value
    elif depth:
        for item in value[:MOST_OUTPUTS]:
            yield from _walk(item, depth - 1)


def _file(node_id: str, source: str, key: str, item: Mapping[str, Any], *, animated: bool) -> DeclaredOutput | None:
    name = shapes.filename(item.get("filename"))
    subfolder = item.get("subfolder") or ""
    if name is None or (subfolder and shapes.filename(subfolder, 4_096) is None):
        return None
    place = item.get("type")
    return DeclaredOutput(
        node_id=node_id,
        source_node=shapes.words(source, 200),
        filename=name,
        subfolder=subfolder,
        type=place if place in ("temp", "input") else "output",
        key=shapes.words(key, 200),
        kind=kind_of(name),
        format=shapes.words(item.get("format"), 200) or None,
        animated=animated,
    )


def _text(node_id: str, source: str, key: str, text: str) -> DeclaredOutput:
    return DeclaredOutput(
        node_id=node_id,
        source_node=shapes.words(source, 200),
        filename="",
        subfolder="",
        type="output",
        key=key,
        kind="text",
        text=shapes.prose(text, CAPTION_LIMIT),
    )
