"""What really happened on a server, written down for whoever checks: every accepted and ended prompt, every upload."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_KEPT = 10_000


class Oracle:
    """An append-only record, in memory and, if asked, as JSON lines in a file that several servers may share."""

    def __init__(self, path: Path | None) -> None:
        """Open the record.

        Args:
            path: The file to append to, or None.

        Raises:
            OSError: If the file cannot be opened.
        """
        self._file: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.lines: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def write(self, event: str, **facts: Any) -> None:
        """Append one line; it is whole in the file when this returns.

        Args:
            event: ``accepted``, ``ended`` or ``uploaded``.
            facts: What is known.
        """
        line = {"event": event, **facts}
        self.lines.append(line)
        if self._file is not None:
            os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def marker_of(extra: dict[str, Any]) -> dict[str, Any]:
    """Take out of ``extra_data`` what a client put there for itself.

    Args:
        extra: The prompt's ``extra_data``.
    """
    return {key: value for key, value in extra.items() if key not in ("client_id", "extra_pnginfo")}


def file_hashes(outputs: dict[str, Any], folders: dict[str, Path]) -> dict[str, str]:
    """Hash the files that a prompt's outputs name.

    Args:
        outputs: The history's ``outputs``.
        folders: The folder of each ``type``.

    Returns:
        The sha256 by ``type/subfolder/filename``; files that are gone are left out.
    """
    hashes = {}
    for item in _files(outputs):
        relative = os.path.join(item["subfolder"], item["filename"])
        path = folders[item["type"]] / relative
        if path.is_file():
            hashes[f"{item['type']}/{relative}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def _files(outputs: dict[str, Any]) -> Iterator[dict[str, str]]:
    for output in outputs.values():
        for items in output.values():
            for item in items:
                if isinstance(item, dict) and "filename" in item:
                    yield item
