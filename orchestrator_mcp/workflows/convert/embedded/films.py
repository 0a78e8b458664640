"""Texts in MP4 and MOV files (boxes) and in WEBM and MKV files (EBML elements)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from orchestrator_mcp.workflows.convert.embedded.source import BrokenError, Source, Texts

_MAX_KEYS: Final = 1_000
_MAX_NAME: Final = 4_096  # bytes

_SEGMENT: Final = 0x18538067
_TAGS: Final = 0x1254C367
_TAG: Final = 0x7373
_SIMPLE_TAG: Final = 0x67C8
_TAG_NAME: Final = 0x45A3
_TAG_STRING: Final = 0x4487
_INSIDE: Final = frozenset({_SEGMENT, _TAGS, _TAG})


def box_texts(source: Source) -> Texts:
    """The metadata of an MP4 or MOV: `keys` and `ilst` boxes in `moov` or in `moov/udta`.

    Args:
        source: a file that begins with an `ftyp` box.
    """
    for kind, begin, end in _boxes(source, 0, source.size):
        if kind == b"moov":
            yield from _movie(source, begin, end)


def _movie(source: Source, begin: int, end: int) -> Texts:
    for kind, inner, after in _boxes(source, begin, end):
        if kind == b"meta":
            yield from _meta(source, inner, after)
        elif kind == b"udta":
            for name, first, last in _boxes(source, inner, after):
                if name == b"meta":
                    yield from _meta(source, first, last)
                elif name == b"\xa9cmt" and last - first > 4:
                    yield "comment", source.whole(first + 4, last - first - 4)


def _meta(source: Source, begin: int, end: int) -> Texts:
    """A `meta` box; in MP4 its boxes follow a version number, in MOV they do not."""
    if source.at(begin + 4, 4) not in {b"hdlr", b"keys", b"ilst"}:
        begin += 4
    boxes = list(_boxes(source, begin, end))
    keys: list[str] = []
    for kind, inner, after in boxes:
        if kind == b"keys":
            keys = list(_keys(source, inner, after))
    for kind, inner, after in boxes:
        if kind == b"ilst":
            yield from _items(source, inner, after, keys)


def _keys(source: Source, begin: int, end: int) -> Iterator[str]:
    offset = begin + 8
    for _ in range(min(struct.unpack(">I", source.whole(begin + 4, 4))[0], _MAX_KEYS)):
        if offset + 8 > end:
            return
        size = struct.unpack(">I", source.whole(offset, 4))[0]
        if not 8 <= size <= _MAX_NAME:
            raise BrokenError("a key of its metadata has no sensible length")
        yield source.whole(offset + 8, size - 8).decode("utf-8", "replace")
        offset += size


def _items(source: Source, begin: int, end: int, keys: list[str]) -> Texts:
    for kind, inner, after in _boxes(source, begin, end):
        number = int.from_bytes(kind, "big")
        name = keys[number - 1] if 1 <= number <= len(keys) else kind.decode("latin-1")
        for held, first, last in _boxes(source, inner, after):
            if held == b"data" and last - first > 8 and _wanted(name):
                yield name, source.whole(first + 8, last - first - 8)


def _wanted(name: str) -> bool:
    """Whether an item can hold a workflow; others may be pictures of any size."""
    return name.lower() in {"prompt", "workflow", "comment", "\xa9cmt", "description", "desc", "ldes"}


def _boxes(source: Source, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, and where the content begins and ends."""
    end = min(end, source.size)
    while begin + 8 <= end:
        source.count()
        size, kind = struct.unpack(">I4s", source.whole(begin, 8))
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", source.whole(begin + 8, 8))[0], 16
        elif size == 0:
            size = end - begin
        if size < head:
            raise BrokenError(f"a box at byte {begin:,} has no sensible length")
        yield kind, begin + head, min(begin + size, end)
        begin += size


def ebml_texts(source: Source) -> Texts:
    """The tags of a WEBM or MKV.

    Args:
        source: a file that begins with an EBML header.
    """
    ahead = [(0, source.size)]
    while ahead:
        begin, end = ahead.pop()
        for kind, inner, after in _elements(source, begin, end):
            if kind in _INSIDE:
                ahead.append((inner, after))
            elif kind == _SIMPLE_TAG:
                yield from _simple_tag(source, inner, after)


def _simple_tag(source: Source, begin: int, end: int) -> Texts:
    name, text = "", b""
    for kind, inner, after in _elements(source, begin, end):
        if kind == _TAG_NAME:
            name = source.whole(inner, min(after - inner, _MAX_NAME)).rstrip(b"\0").decode("utf-8", "replace")
        elif kind == _TAG_STRING and after - inner <= source.max_text:
            text = source.whole(inner, after - inner).rstrip(b"\0")
    if name and text:
        yield name, text


def _elements(source: Source, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Id, and where the content begins and ends; an element of unknown length goes on to the end."""
    end = min(end, source.size)
    while begin < end:
        source.count()
        kind, begin = _variable(source, begin, keep_mark=True)
        size, begin = _variable(source, begin, keep_mark=False)
        after = end if size is None or kind is None else min(begin + size, end)
        if kind is None:
            raise BrokenError("an element has no sensible id")
        yield kind, begin, after
        begin = after


def _variable(source: Source, offset: int, *, keep_mark: bool) -> tuple[int | None, int]:
    """A number whose first bits say how many bytes it has; None when all its bits are set, which means unknown."""
    first = source.whole(offset, 1)[0]
    length = 9 - first.bit_length()
    if first == 0 or (keep_mark and length > 4):
        raise BrokenError(f"the number at byte {offset:,} is none of EBML's")
    value = int.from_bytes(source.whole(offset, length), "big")
    plain = value & ((1 << 7 * length) - 1)
    if plain == (1 << 7 * length) - 1:
        return None, offset + length
    return (value if keep_mark else plain), offset + length
