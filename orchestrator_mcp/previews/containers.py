"""What the head of a video file says of it: how long it is and how large its pictures are. Nothing is decoded.

Every length is checked before it is followed, and every walk ends: the file comes from a backend.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOST_PARTS: Final = 10_000
_MOST_SECONDS: Final = 30 * 24 * 3600.0
_MOST_SIDE: Final = 100_000
_CONTAINERS: Final = frozenset({b"moov", b"trak"})
_SEGMENT, _HEAD, _SCALE, _DURATION = 0x18538067, 0x1549A966, 0x2AD7B1, 0x4489
_TRACKS, _TRACK, _VIDEO, _WIDTH, _HEIGHT = 0x1654AE6B, 0xAE, 0xE0, 0xB0, 0xBA
_EBML_CONTAINERS: Final = frozenset({_SEGMENT, _HEAD, _TRACKS, _TRACK, _VIDEO})

Content = bytes | mmap.mmap


@dataclass(frozen=True, kw_only=True)
class Film:
    """What is known of a video.

    Attributes:
        seconds: how long it plays; None when it does not say.
        width: of its pictures, in pixels.
        height: of its pictures, in pixels.
    """

    seconds: float | None = None
    width: int | None = None
    height: int | None = None


def film(path: Path) -> Film:
    """Look into the head of a video file; what it does not say, or says wrongly, stays unknown.

    Args:
        path: any file.
    """
    try:
        with path.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return film_of(content)
    except (OSError, ValueError):
        return Film()


def film_of(content: Content) -> Film:
    """The same, of a file's bytes.

    Args:
        content: MP4, MOV, WebM, MKV or AVI; of anything else nothing is known.
    """
    if content[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _boxes(content)
    if content[:4] == b"\x1aE\xdf\xa3":
        return _matroska(content)
    return _avi(content) if content[:4] == b"RIFF" and content[8:12] == b"AVI " else Film()


def _boxes(content: Content) -> Film:
    seconds: float | None = None
    largest = (0, 0)
    for name, start, end in _walk_boxes(content):
        if name == b"mvhd":
            seconds = _movie_seconds(content[start : min(end, start + 40)])
        elif name == b"tkhd" and end - start >= 84:
            width, height = struct.unpack(">II", content[end - 8 : end])
            largest = max(largest, (width >> 16, height >> 16))
    return _checked(seconds, *largest)


def _walk_boxes(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of what each box holds; of the index, also of the boxes within."""
    offset, size = 0, len(content)
    for _ in range(_MOST_PARTS):
        if offset + 8 > size:
            return
        length, header = int.from_bytes(content[offset : offset + 4]), 8
        name = bytes(content[offset + 4 : offset + 8])
        if length == 1:
            length, header = int.from_bytes(content[offset + 8 : offset + 16]), 16
        elif length == 0:
            length = size - offset
        if length < header or offset + length > size:
            return
        yield name, offset + header, offset + length
        offset += header if name in _CONTAINERS else length


def _movie_seconds(head: bytes) -> float | None:
    shape, at = (">IQ", 20) if head[:1] == b"\x01" else (">II", 12)
    if len(head) < at + struct.calcsize(shape):
        return None
    scale, duration = struct.unpack_from(shape, head, at)
    return duration / scale if scale else None


def _matroska(content: Content) -> Film:
    scale, duration, width, height = 1_000_000, None, 0, 0
    for name, start, end in _walk_elements(content):
        value = content[start : min(end, start + 8)]
        if name == _SCALE:
            scale = int.from_bytes(value)
        elif name == _DURATION and len(value) in (4, 8):
            (duration,) = struct.unpack(">f" if len(value) == 4 else ">d", value)
        elif name == _WIDTH:
            width = max(width, int.from_bytes(value))
        elif name == _HEIGHT:
            height = max(height, int.from_bytes(value))
    return _checked(duration * scale / 1e9 if duration is not None else None, width, height)


def _walk_elements(content: Content) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of what each EBML element holds; of the head and the tracks, also of those within."""
    offset, size = 0, len(content)
    for _ in range(_MOST_PARTS):
        name, name_length = _number(content, offset, keep_marker=True)
        length, length_length = _number(content, offset + name_length, keep_marker=False)
        if not name_length or not length_length:
            return
        start = offset + name_length + length_length
        unknown = length == (1 << 7 * length_length) - 1
        end = size if unknown else min(start + length, size)
        yield name, start, end
        offset = start if name in _EBML_CONTAINERS or unknown else end
        if offset >= size:
            return


def _number(content: Content, offset: int, *, keep_marker: bool) -> tuple[int, int]:
    """An EBML number and how many bytes it takes; 0 bytes when there is none."""
    first = content[offset] if offset < len(content) else 0
    length = 9 - first.bit_length()
    if not first or offset + length > len(content):
        return 0, 0
    value = int.from_bytes(content[offset : offset + length])
    return (value if keep_marker else value & (1 << 7 * length) - 1), length


def _avi(content: Content) -> Film:
    at = bytes(content[:512]).find(b"avih")
    if at < 0 or at + 48 > len(content):
        return Film()
    micros, frames, width, height = (struct.unpack_from("<I", content, at + 8 + part)[0] for part in (0, 16, 32, 36))
    return _checked(micros * frames / 1e6, width, height)


def _checked(seconds: float | None, width: int, height: int) -> Film:
    """Only what can be true."""
    told = seconds is not None and math.isfinite(seconds) and 0 < seconds < _MOST_SECONDS
    sized = 0 < width < _MOST_SIDE and 0 < height < _MOST_SIDE
    return Film(seconds=seconds if told else None, width=width if sized else None, height=height if sized else None)
