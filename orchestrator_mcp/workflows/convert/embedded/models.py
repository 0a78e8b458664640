"""Texts in safetensors, latent, GLB and SVG files."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from orchestrator_mcp.domain.documents import parse_document
from orchestrator_mcp.errors import CallerError
from orchestrator_mcp.workflows.convert.embedded.source import BrokenError, Source, Texts

_CDATA: Final = (b"<![CDATA[", b"]]>")
_MAX_DEPTH: Final = 80


def safetensors_texts(source: Source) -> Texts:
    """The `__metadata__` of a safetensors or latent file.

    Args:
        source: a file that begins with the length of a JSON header.
    """
    size = struct.unpack("<Q", source.whole(0, 8))[0]
    document = _document(source, source.whole(8, min(size, source.size)))
    yield from _texts_of(document.get("__metadata__"))


def glb_texts(source: Source) -> Texts:
    """The extras of a GLB's asset.

    Args:
        source: a file that begins as a GLB.
    """
    size, kind = struct.unpack("<I4s", source.whole(12, 8))
    if kind == b"JSON":
        asset = _document(source, source.whole(20, size).rstrip(b" \0")).get("asset")
        yield from _texts_of(asset.get("extras") if isinstance(asset, dict) else None)


def svg_texts(source: Source) -> Texts:
    """The JSON in the metadata element of an SVG.

    Args:
        source: a file that begins as an SVG.
    """
    text = source.at(0, min(source.size, source.max_text))
    begin = text.find(b"<metadata")
    opened = text.find(_CDATA[0], begin) if begin >= 0 else -1
    closed = text.find(_CDATA[1], opened) if opened >= 0 else -1
    if closed >= 0:
        yield "comment", text[opened + len(_CDATA[0]) : closed]


def _document(source: Source, raw: bytes) -> dict[str, Any]:
    try:
        return parse_document(raw, max_bytes=source.max_text, max_depth=_MAX_DEPTH)
    except CallerError as error:
        raise BrokenError(f"its header cannot be read: {error.message}") from error


def _texts_of(said: object) -> Texts:
    for name, text in said.items() if isinstance(said, dict) else ():
        yield str(name)[:80], text.encode() if isinstance(text, str) else json.dumps(text).encode()
