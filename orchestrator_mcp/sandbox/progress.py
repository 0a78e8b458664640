"""What clients hear while a prompt runs."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

Send = Callable[[str, Any, str | None], None]
"""Sends an event with its content to one client, or to all for None."""

PREVIEW_IMAGE = 1
TEXT = 3
PREVIEW_WITH_METADATA = 4
_JPEG = 1


class Progress:
    """The node states of one running prompt, told to its owner, or to everybody if it has none."""

    def __init__(self, prompt_id: str, owner: str | None, send: Send) -> None:
        """Start with no node.

        Args:
            prompt_id: The running prompt.
            owner: Its ``client_id``.
            send: Sends a message.
        """
        self._prompt_id = prompt_id
        self._owner = owner
        self._send = send
        self._nodes: dict[str, dict[str, Any]] = {}

    def started(self, node_id: str) -> None:
        """Say that a node has started.

        Args:
            node_id: Which one.
        """
        self._nodes[node_id] = self._state(node_id, 0.0, 1.0, "running")
        self._tell()

    def moved(self, node_id: str, value: int, total: int) -> None:
        """Say how far a node has come.

        Args:
            node_id: Which one.
            value: Steps done.
            total: Steps in all.
        """
        self._nodes[node_id] = self._state(node_id, value, total, "running")
        self._tell()

    def finished(self, node_id: str) -> None:
        """Say that a node is done.

        Args:
            node_id: Which one.
        """
        total = self._nodes.get(node_id, {"max": 1.0})["max"]
        self._nodes[node_id] = self._state(node_id, total, total, "finished")
        self._tell()

    def _state(self, node_id: str, value: float, total: float, state: str) -> dict[str, Any]:
        return {
            "value": value,
            "max": total,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }

    def _tell(self) -> None:
        self._send("progress_state", {"prompt_id": self._prompt_id, "nodes": self._nodes}, self._owner)


def text_frame(node_id: str, text: str) -> bytes:
    """Pack a progress text.

    Args:
        node_id: The node that says it.
        text: What it says.
    """
    name = node_id.encode()
    return struct.pack(">II", TEXT, len(name)) + name + text.encode()


def plain_preview_frame(jpeg: bytes) -> bytes:
    """Pack a preview picture for clients that did not ask for more.

    Args:
        jpeg: The picture.
    """
    return struct.pack(">II", PREVIEW_IMAGE, _JPEG) + jpeg


def described_preview_frame(prompt_id: str, node_id: str, jpeg: bytes) -> bytes:
    """Pack a preview picture with the node it belongs to.

    Args:
        prompt_id: The running prompt.
        node_id: The node that samples.
        jpeg: The picture.
    """
    about = {
        "node_id": node_id,
        "prompt_id": prompt_id,
        "display_node_id": node_id,
        "parent_node_id": None,
        "real_node_id": node_id,
        "image_type": "image/jpeg",
    }
    head = json.dumps(about).encode()
    return struct.pack(">II", PREVIEW_WITH_METADATA, len(head)) + head + jpeg
