"""Reads `GET /queue` and `GET /system_stats`. Strict where it must be: what cannot be read must not look empty."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_mcp.backends import shapes
from orchestrator_mcp.backends.history import marker_of

_MOST_DEVICES: Final = 64
_NUMBERS: Final = re.compile(r"\d{1,6}")


@dataclass(frozen=True, kw_only=True)
class QueuedPrompt:
    """One prompt in a backend's queue.

    Attributes:
        prompt_id: as the backend knows it; an old one may have drawn it itself.
        number: its place; lower runs first.
        marker: what we put into `extra_data`; None for somebody else's prompt.
        outputs: the output nodes that will really run.
    """

    prompt_id: str
    number: float
    marker: dict[str, Any] | None = None
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """A backend's queue at one moment; `pending` in the order in which it will run."""

    running: tuple[QueuedPrompt, ...] = ()
    pending: tuple[QueuedPrompt, ...] = ()

    def find(self, prompt_id: str) -> QueuedPrompt | None:
        """The prompt of that id, running or pending."""
        return next((prompt for prompt in (*self.running, *self.pending) if prompt.prompt_id == prompt_id), None)


@dataclass(frozen=True, kw_only=True)
class BackendStats:
    """What a backend says about itself.

    Attributes:
        version: ComfyUI's version as it is spelled; empty if it tells none.
        version_tuple: the same to compare; `()` is older than everything.
        devices: name, type and memory (bytes) of each, plain values only.
        argv: how it was started; shows cache and folder options.
        os: `posix`, `nt`, ...
    """

    version: str
    version_tuple: tuple[int, ...]
    devices: list[dict[str, Any]]
    argv: tuple[str, ...]
    os: str


def parse_queue(document: object) -> QueueSnapshot:
    """Read the answer to `GET /queue`.

    Args:
        document: the parsed JSON.

    Raises:
        ValueError: any part of it cannot be read: a prompt overlooked here would be rendered twice.
    """
    found = shapes.record(document)
    running, pending = found.get("queue_running"), found.get("queue_pending")
    if not isinstance(running, list) or not isinstance(pending, list):
        raise ValueError("it has no queue_running and queue_pending")
    waiting = sorted(map(_queued, pending), key=lambda prompt: (prompt.number, prompt.prompt_id))
    return QueueSnapshot(running=tuple(map(_queued, running)), pending=tuple(waiting))


def parse_queue_remaining(document: object) -> int:
    """Read the answer to `GET /prompt`: prompts pending and running.

    Args:
        document: the parsed JSON.

    Raises:
        ValueError: there is no such number.
    """
    remaining = shapes.whole(shapes.record(shapes.record(document).get("exec_info")).get("queue_remaining"))
    if remaining is None or remaining < 0:
        raise ValueError("it has no exec_info.queue_remaining")
    return remaining


def parse_stats(document: object) -> BackendStats:
    """Read the answer to `GET /system_stats`.

    Args:
        document: the parsed JSON.

    Raises:
        ValueError: it has no `system` part, so it does not come from ComfyUI.
    """
    system = shapes.record(document).get("system")
    if not isinstance(system, dict):
        raise ValueError("it has no system part")
    version = shapes.words(system.get("comfyui_version"), 100)
    return BackendStats(
        version=version,
        version_tuple=version_tuple(version),
        devices=[_device(said) for said in shapes.items(shapes.record(document).get("devices"))[:_MOST_DEVICES]],
        argv=tuple(shapes.words(word, 500) for word in shapes.items(system.get("argv"))[:200]),
        os=shapes.words(system.get("os"), 100),
    )


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `v0.3.64+cu130` gives (0, 3, 64).

    Args:
        version: as a backend spells it.
    """
    parts: list[int] = []
    for part in version.lstrip("vV").split("."):
        found = _NUMBERS.match(part)
        if found is None:
            break
        parts.append(int(found.group()))
        if found.end() != len(part):
            break
    return tuple(parts)


def _queued(item: object) -> QueuedPrompt:
    fields = shapes.items(item)
    number = shapes.number(fields[0]) if fields else None
    prompt_id = fields[1] if len(fields) > 1 else None
    if number is None or not isinstance(prompt_id, str):
        raise ValueError("a queued prompt has no number and id")
    return QueuedPrompt(
        prompt_id=prompt_id,
        number=number,
        marker=marker_of(fields[3]) if len(fields) > 3 else None,
        outputs=shapes.identifiers(fields[4]) if len(fields) > 4 else (),
    )


def _device(said: object) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in list(shapes.record(said).items())[:40]:
        if isinstance(value, str):
            plain[shapes.words(key, 100)] = shapes.words(value, 200)
        elif value is None or isinstance(value, bool) or shapes.number(value) is not None:
            plain[shapes.words(key, 100)] = value
    return plain
