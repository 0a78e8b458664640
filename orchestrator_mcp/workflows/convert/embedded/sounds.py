"""Texts in FLAC, OGG and MP3 files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from orchestrator_mcp.workflows.convert.embedded.source import BrokenError, Source, Texts

_COMMENT_BLOCK: Final = 4
_COMMENT_HEADS: Final = (b"OpusTags", b"\x03vorbis", b"\x83theora", b"\x7fFLAC")
_MAX_STREAMS: Final = 16
_MAX_COMMENTS: Final = 10_000
_ENCODINGS: Final = ("latin-1", "utf-16", "utf-16-be", "utf-8")


def flac_texts(source: Source) -> Texts:
    """The comments of a FLAC.

    Args:
        source: a file that begins as a FLAC.
    """
    offset, last = 4, False
    while not last and offset + 4 <= source.size:
        source.count()
        head = source.whole(offset, 4)
        last, size = bool(head[0] & 0x80), int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == _COMMENT_BLOCK:
            yield from _comments(source.whole(offset + 4, size))
        offset += 4 + size


def ogg_texts(source: Source) -> Texts:
    """The comments of an OGG or OPUS: the second packet of each stream.

    Args:
        source: a file that begins as an OGG page.
    """
    for packet in _second_packets(source):
        for head in _COMMENT_HEADS:
            if packet.startswith(head):
                yield from _comments(packet[len(head) :])


def mp3_texts(source: Source) -> Texts:
    """The user-defined texts and comments of an ID3 tag of version 2.3 or 2.4.

    Args:
        source: a file that begins with an ID3 tag.
    """
    head = source.whole(0, 10)
    version, flags, size = head[3], head[5], _sync_safe(head[6:10])
    if version not in {3, 4}:
        return
    tag = source.at(10, min(size, source.max_text))
    if flags & 0x80 and version == 3:
        tag = tag.replace(b"\xff\0", b"\xff")
    offset = 0
    if flags & 0x40 and len(tag) >= 4:
        extended = _sync_safe(tag[:4]) if version == 4 else int.from_bytes(tag[:4], "big") + 4
        offset = max(extended, 4)
    while offset + 10 <= len(tag) and tag[offset]:
        source.count()
        kind, raw = tag[offset : offset + 4], tag[offset + 4 : offset + 8]
        length = _sync_safe(raw) if version == 4 else int.from_bytes(raw, "big")
        body = tag[offset + 10 : offset + 10 + length]
        if kind == b"TXXX" and body:
            yield from _pair(body[0], body[1:])
        elif kind == b"COMM" and len(body) > 4:
            yield from (("comment", text) for _, text in _pair(body[0], body[4:]))
        offset += 10 + length


def _comments(block: bytes) -> Texts:
    """A Vorbis comment: the maker's name, then `NAME=text` entries, each after its length."""
    offset, entries = 4 + _little(block, 0), []
    count = min(_little(block, offset), _MAX_COMMENTS)
    offset += 4
    for _ in range(count):
        size = _little(block, offset)
        entries.append(block[offset + 4 : offset + 4 + size])
        offset += 4 + size
    for entry in entries:
        name, equals, text = entry.partition(b"=")
        if equals:
            yield name[:80].decode("utf-8", "replace"), text


def _little(block: bytes, offset: int) -> int:
    if offset + 4 > len(block):
        raise BrokenError("its comments are torn")
    return int(struct.unpack_from("<I", block, offset)[0])


def _second_packets(source: Source) -> Iterator[bytes]:
    """The second packet of every stream, put together from its pages."""
    offset = 0
    done: dict[int, int] = {}
    parts: dict[int, bytearray] = {}
    while offset + 27 <= source.size and source.at(offset, 4) == b"OggS":
        source.count()
        head = source.whole(offset, 27)
        stream, segments = struct.unpack("<I", head[14:18])[0], source.whole(offset + 27, head[26])
        offset += 27 + head[26]
        if stream not in done and len(done) >= _MAX_STREAMS:
            raise BrokenError(f"it has more than {_MAX_STREAMS} streams")
        done.setdefault(stream, 0)
        for length in segments:
            if done[stream] == 1:
                part = parts.setdefault(stream, bytearray())
                part += source.whole(offset, length) if length else b""
                if len(part) > source.max_text:
                    raise BrokenError("its comments are too long")
            offset += length
            if length < 255:
                done[stream] += 1
                if done[stream] == 2:
                    yield bytes(parts.pop(stream, b""))
        if done and all(count >= 2 for count in done.values()):
            return


def _pair(encoding: int, body: bytes) -> Texts:
    """A name and a text with a zero between them, in one of four encodings; the text comes back as UTF-8."""
    if encoding >= len(_ENCODINGS):
        return
    wide = encoding in {1, 2}
    end = next((at for at in range(0, len(body) - 1, 2) if body[at : at + 2] == b"\0\0"), -1) if wide else body.find(0)
    if end < 0:
        return
    try:
        name = body[:end].decode(_ENCODINGS[encoding])
        text = body[end + (2 if wide else 1) :].decode(_ENCODINGS[encoding])
    except UnicodeDecodeError:
        return
    yield name[:80], text.rstrip("\0").encode("utf-8", "replace")


def _sync_safe(raw: bytes) -> int:
    value = 0
    for byte in raw:
        value = (value << 7) | (byte & 0x7F)
    return value
