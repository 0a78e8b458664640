"""Whether a file is whole: walks its structure from the first byte to the last, decodes nothing.

A torn download, a file whose writer died and a lie about the type are found here. Everything in it comes from a
backend: lengths are checked before they are followed, and every walk ends.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap
from typing import Final

from orchestrator_mcp.domain import media
from orchestrator_mcp.domain.media import MediaFormat, extension_of, recognise
from orchestrator_mcp.errors import ArtifactError

Content = bytes | mmap
Size = tuple[int, int]

HEAD: Final = 4096
_PIECE: Final = 1 << 20
_MOST_PARTS: Final = 1_000_000
_MOST_JSON: Final = 32 << 20
_MARKER: Final = re.compile(rb"\xff+([^\xff])", re.DOTALL)
_MARKER_AFTER_SCAN: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file turned out to be.

    Attributes:
        format: by its content.
        width: in pixels, for the images whose header says so.
        height: in pixels.
    """

    format: MediaFormat
    width: int | None = None
    height: int | None = None


def inspect(content: Content, *, name_hint: str) -> Inspection:
    """Recognise a file and check that it is whole.

    Args:
        content: all of it, at least one byte.
        name_hint: what its maker called it; decides only between kinds of text.

    Raises:
        ArtifactError: it breaks off, a checksum is wrong, or a length leads nowhere.
    """
    found = recognise(content[:HEAD])
    if found is None:
        return Inspection(format=_text_or_unknown(content, extension_of(name_hint)))
    size = _WALKS.get(found, _any_length)(content)
    return Inspection(format=found, width=size[0], height=size[1]) if size else Inspection(format=found)


def _torn(what: str, missing: str, offset: int, content: Content) -> ArtifactError:
    return ArtifactError(f"The {what} ends before {missing}: it breaks off at byte {offset} of {len(content)}.")


def _any_length(_content: Content) -> None:
    return None


def _png(content: Content) -> Size:
    offset, parts, size = 8, 0, None
    with memoryview(content) as view:
        while offset + 12 <= len(view) and parts < _MOST_PARTS:
            length = int.from_bytes(view[offset : offset + 4])
            name = bytes(view[offset + 4 : offset + 8])
            end = offset + 12 + length
            if end > len(view):
                break
            with view[offset + 4 : end - 4] as covered:
                if zlib.crc32(covered) != int.from_bytes(view[end - 4 : end]):
                    raise ArtifactError(
                        f"The PNG is damaged: the checksum of its {name!r} chunk at byte {offset} differs."
                    )
            if name == b"IHDR" and length == 13:
                size = (int.from_bytes(view[offset + 8 : offset + 12]), int.from_bytes(view[offset + 12 : offset + 16]))
            if name == b"IEND":
                return _png_size(size)
            offset, parts = end, parts + 1
    raise _torn("PNG", "IEND", offset, content)


def _png_size(size: Size | None) -> Size:
    if size is None:
        raise ArtifactError("The PNG has no IHDR chunk.")
    return size


def _jpeg(content: Content) -> Size | None:
    offset, size, search = 2, None, _MARKER
    for _ in range(_MOST_PARTS):
        found = search.search(content, offset)
        if found is None:
            break
        marker, after = found[1][0], found.end()
        if search is _MARKER and found.start() != offset:
            raise ArtifactError(f"The JPEG is damaged: a marker is missing at byte {offset}.")
        if marker == 0xD9:
            return size
        length = int.from_bytes(content[after : after + 2])
        if length < 2 or after + length > len(content):
            offset = after
            break
        if marker in _FRAMES:
            size = (int.from_bytes(content[after + 5 : after + 7]), int.from_bytes(content[after + 3 : after + 5]))
        offset, search = after + length, _MARKER_AFTER_SCAN if marker == 0xDA else _MARKER
    raise _torn("JPEG", "its end marker", offset, content)


def _gif(content: Content) -> Size:
    width, height = int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")
    offset = 13 + _gif_palette(content, 10)
    for _ in range(_MOST_PARTS):
        lead = content[offset : offset + 1]
        if lead == b";":
            return width, height
        if lead == b"!":
            offset = _gif_blocks(content, offset + 2)
        elif lead == b",":
            offset = _gif_blocks(content, offset + 11 + _gif_palette(content, offset + 9))
        else:
            break
    raise _torn("GIF", "its trailer", min(offset, len(content)), content)


def _gif_palette(content: Content, at: int) -> int:
    flags = content[at : at + 1]
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _gif_blocks(content: Content, offset: int) -> int:
    while offset < len(content):
        length = content[offset]
        offset += 1 + length
        if not length:
            return offset
    raise _torn("GIF", "its trailer", len(content), content)


def _webp(content: Content) -> Size | None:
    declared = 8 + int.from_bytes(content[4:8], "little")
    if len(content) < declared:
        raise ArtifactError(f"The WebP ends at byte {len(content)} of {declared} that its header declares.")
    kind, at = content[12:16], content[20:30]
    if kind == b"VP8X":
        return 1 + int.from_bytes(at[4:7], "little"), 1 + int.from_bytes(at[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(at[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(at[6:8], "little") & 0x3FFF, int.from_bytes(at[8:10], "little") & 0x3FFF
    return None


def _boxes(content: Content) -> None:
    offset, seen = 0, set()
    for _ in range(_MOST_PARTS):
        if offset == len(content):
            break
        length, name, header = int.from_bytes(content[offset : offset + 4]), content[offset + 4 : offset + 8], 8
        if length == 1:
            length, header = int.from_bytes(content[offset + 8 : offset + 16]), 16
        elif length == 0:
            length = len(content) - offset
        if length < header or offset + length > len(content) or len(name) < 4:
            raise _torn("video", f"the end of its {name!r} box", offset, content)
        seen.add(name)
        offset += length
    if b"meta" not in seen and not (b"mdat" in seen and seen & {b"moov", b"moof"}):
        raise ArtifactError("The video lacks its index (moov box) or its pictures (mdat box): it was not finished.")


def _matroska(content: Content) -> None:
    if b"\x42\x82" not in content[:HEAD] and len(content) < HEAD:
        raise _torn("Matroska file", "its first cluster", len(content), content)


def _glb(content: Content) -> None:
    declared = int.from_bytes(content[8:12], "little")
    if declared != len(content):
        raise ArtifactError(f"The GLB model has {len(content)} bytes; its header declares {declared}.")


def _zip(content: Content) -> None:
    at = content.rfind(b"PK\x05\x06", max(0, len(content) - 66_000))
    if at < 0 or at + 22 + int.from_bytes(content[at + 20 : at + 22], "little") != len(content):
        raise _torn("archive", "its directory", len(content), content)


def _audio(content: Content) -> None:
    if len(content) < 16:
        raise _torn("audio file", "the end of its header", len(content), content)


def _text_or_unknown(content: Content, extension: str) -> MediaFormat:
    if not _is_text(content):
        opaque = extension in media.OPAQUE_EXTENSIONS
        return (
            MediaFormat(media_type="application/octet-stream", kind="file", extension=extension)
            if opaque
            else (media.UNKNOWN)
        )
    found = media.TEXT_FORMATS.get(extension, media.TEXT)
    if found is media.JSON:
        _check_json(content)
    if found is media.SVG and b"<svg" not in content[:HEAD]:
        return media.TEXT
    return found


def _is_text(content: Content) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for offset in range(0, len(content), _PIECE):
            piece = content[offset : offset + _PIECE]
            if b"\x00" in piece:
                return False
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _check_json(content: Content) -> None:
    if len(content) > _MOST_JSON:
        raise ArtifactError(f"The JSON text has {len(content)} bytes; at most {_MOST_JSON} are checked and taken.")
    try:
        json.loads(content[:])
    except RecursionError as deep:
        raise ArtifactError("The JSON text is nested too deep.") from deep
    except ValueError as wrong:
        raise ArtifactError(f"The JSON text is not whole: {wrong}.") from wrong


_WALKS: Final[dict[MediaFormat, Callable[[Content], Size | None]]] = {
    media.PNG: _png,
    media.JPEG: _jpeg,
    media.GIF: _gif,
    media.WEBP: _webp,
    media.MP4: _boxes,
    media.MOV: _boxes,
    media.M4A: _boxes,
    media.AVIF: _boxes,
    media.HEIC: _boxes,
    media.WEBM: _matroska,
    media.MKV: _matroska,
    media.GLB: _glb,
    media.ZIP: _zip,
    media.WAV: _audio,
    media.FLAC: _audio,
    media.OGG: _audio,
    media.OPUS: _audio,
    media.MP3: _audio,
}
