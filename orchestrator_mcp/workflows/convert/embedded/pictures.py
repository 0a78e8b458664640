"""Texts in PNG, WEBP, JPEG and AVIF files."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from orchestrator_mcp.workflows.convert.embedded.source import BrokenError, Source, Texts

_EXIF_HEAD: Final = b"Exif\x00\x00"
_MAX_ENTRIES: Final = 1_000
_SUB_DIRECTORY: Final = 0x8769
_USER_COMMENT: Final = 0x9286
_TEXT_KINDS: Final = frozenset({1, 2, 7})
_SEARCHED: Final = 4 * 1024 * 1024  # bytes; an AVIF file has its metadata near its beginning


def png_texts(source: Source) -> Texts:
    """The text chunks of a PNG, and the `comf` chunks that ComfyUI puts into animated ones.

    Args:
        source: a file that begins as a PNG.
    """
    offset = 8
    while offset + 12 <= source.size:
        source.count()
        size, kind = struct.unpack(">I4s", source.whole(offset, 8))
        if kind in {b"tEXt", b"comf"}:
            key, _, text = source.whole(offset + 8, size).partition(b"\0")
            yield _latin(key), text
        elif kind == b"zTXt":
            key, _, rest = source.whole(offset + 8, size).partition(b"\0")
            yield _latin(key), _inflated(rest[1:], source.max_text)
        elif kind == b"iTXt":
            yield from _international(source, source.whole(offset + 8, size))
        elif kind == b"eXIf":
            yield from exif_texts(source.whole(offset + 8, size))
        elif kind == b"IEND":
            return
        offset += 12 + size


def webp_texts(source: Source) -> Texts:
    """The EXIF entries of a WEBP.

    Args:
        source: a file that begins as a WEBP.
    """
    offset = 12
    while offset + 8 <= source.size:
        source.count()
        kind, size = struct.unpack("<4sI", source.whole(offset, 8))
        if kind == b"EXIF":
            yield from exif_texts(source.whole(offset + 8, size))
        offset += 8 + size + size % 2


def jpeg_texts(source: Source) -> Texts:
    """The EXIF entries of a JPEG.

    Args:
        source: a file that begins as a JPEG.
    """
    offset = 2
    while offset + 4 <= source.size:
        source.count()
        mark, kind, size = struct.unpack(">BBH", source.whole(offset, 4))
        if mark != 0xFF or kind in {0xD9, 0xDA}:
            return
        segment = source.whole(offset + 4, max(size - 2, 0))
        if kind == 0xE1 and segment.startswith(_EXIF_HEAD):
            yield from exif_texts(segment)
        elif kind == 0xFE:
            yield "comment", segment
        offset += 2 + max(size, 2)


def avif_texts(source: Source) -> Texts:
    """The EXIF entries of an AVIF, found by their header.

    Args:
        source: a file that begins as an AVIF.
    """
    head = source.at(0, min(source.size, _SEARCHED, source.max_text))
    at = head.find(_EXIF_HEAD)
    for _ in range(16):
        if at < 0:
            return
        if head[at + 6 : at + 10] in {b"II*\0", b"MM\0*"}:
            yield from exif_texts(source.at(at, min(source.size - at, source.max_text)))
            return
        at = head.find(_EXIF_HEAD, at + 1)


def exif_texts(block: bytes) -> Texts:
    """The texts of an EXIF block; ComfyUI writes `prompt:{…}` and `workflow:{…}` into whatever entries it likes.

    Args:
        block: the block, with or without its header.
    """
    tiff = block.removeprefix(_EXIF_HEAD)
    if tiff[:4] not in {b"II*\0", b"MM\0*"}:
        return
    order = "<" if tiff[:2] == b"II" else ">"
    ahead, seen = [_number(tiff, order, 4)], set[int]()
    left = 2 * len(tiff)  # entries may all point at the same bytes
    while ahead and len(seen) < 8:
        here = ahead.pop()
        if here in seen:
            continue
        seen.add(here)
        for tag, kind, count, place in _entries(tiff, order, here):
            if tag == _SUB_DIRECTORY:
                ahead.append(_number(tiff, order, place))
            elif kind in _TEXT_KINDS and (left := left - min(count, len(tiff))) >= 0:
                yield from _named(tag, _value(tiff, order, count, place))


def _entries(tiff: bytes, order: str, offset: int) -> list[tuple[int, int, int, int]]:
    """Tag, type, number of bytes, and where the value or its offset stands."""
    if not 8 <= offset <= len(tiff) - 2:
        return []
    count = min(struct.unpack_from(f"{order}H", tiff, offset)[0], _MAX_ENTRIES)
    return [
        (*struct.unpack_from(f"{order}HHI", tiff, place), place + 8)
        for place in range(offset + 2, min(offset + 2 + 12 * count, len(tiff) - 11), 12)
    ]


def _value(tiff: bytes, order: str, count: int, place: int) -> bytes:
    begin = place if count <= 4 else _number(tiff, order, place)
    return tiff[begin : begin + count].rstrip(b"\0")


def _named(tag: int, value: bytes) -> Texts:
    if tag == _USER_COMMENT:
        yield "comment", value[8:].lstrip(b"\0") if value[:8].rstrip(b"\0") in {b"ASCII", b"UNICODE", b""} else value
    name, colon, text = value.partition(b":")
    if colon and len(name) < 40 and text.lstrip().startswith(b"{"):
        yield _latin(name), text
    elif value.startswith(b"{"):
        yield "comment", value


def _number(tiff: bytes, order: str, offset: int) -> int:
    if not 0 <= offset <= len(tiff) - 4:
        raise BrokenError("its EXIF block is torn")
    return int(struct.unpack_from(f"{order}I", tiff, offset)[0])


def _international(source: Source, content: bytes) -> Texts:
    key, _, rest = content.partition(b"\0")
    if len(rest) < 2:
        return
    packed = rest[0] == 1
    text = rest[2:].split(b"\0", 2)[-1]
    yield _latin(key), _inflated(text, source.max_text) if packed else text


def _inflated(packed: bytes, most: int) -> bytes:
    machine = zlib.decompressobj()
    try:
        text = machine.decompress(packed, most + 1)
    except zlib.error as error:
        raise BrokenError("a packed text in it cannot be unpacked") from error
    if len(text) > most:
        raise BrokenError(f"a packed text in it has more than {most:,} bytes")
    return text


def _latin(name: bytes) -> str:
    return name[:80].decode("latin-1")
