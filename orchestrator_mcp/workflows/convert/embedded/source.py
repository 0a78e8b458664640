"""Reading from a file that lies about its lengths: nothing is read beyond the end, or larger than agreed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Final

Texts = Iterator[tuple[str, bytes]]
"""Named texts as a file has them: `("prompt", b"{…}")`."""

MAX_PARTS: Final = 200_000
"""Chunks, boxes, blocks or pages that are looked at in one file."""


class BrokenError(ValueError):
    """The file is not built as its first bytes say, or it is built to keep a reader busy."""


class Source:
    """A seekable file, read in places.

    Args:
        file: the file or its bytes.
        max_text: largest text that is taken, in bytes.
    """

    def __init__(self, file: bytes | BinaryIO, *, max_text: int) -> None:
        self._file: BinaryIO = io.BytesIO(file) if isinstance(file, bytes) else file
        self._parts = 0
        self.size = self._file.seek(0, io.SEEK_END)
        self.max_text = max_text

    def at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer where the file ends.

        Args:
            offset: where to begin, in bytes.
            size: how many, at most the largest text and a little.

        Raises:
            BrokenError: more was asked for than is ever read at once.
        """
        if size > self.max_text + 65_536:
            raise BrokenError(f"a part of {size:,} bytes stands where a text is expected")
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        self._file.seek(offset)
        return self._file.read(min(size, self.size - offset))

    def whole(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`.

        Args:
            offset: where to begin, in bytes.
            size: how many.

        Raises:
            BrokenError: the file ends before.
        """
        found = self.at(offset, size)
        if len(found) != size:
            raise BrokenError(f"it ends at byte {self.size:,}, in the middle of a part")
        return found

    def count(self) -> None:
        """Note one more part.

        Raises:
            BrokenError: there are too many.
        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BrokenError(f"it has more than {MAX_PARTS:,} parts")
