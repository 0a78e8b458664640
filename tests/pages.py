"""Workflows as ComfyUI's page saves them, and pictures that carry them, for the nodes that the sandbox has."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

from PIL import Image, PngImagePlugin

from tests.workflows.convert.drawing import Saved, board, node

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}


def page(*, width: int = 64, kind: str = "EmptyImage") -> Saved:
    """The page's own file for `GRAPH`; `kind` is the class of its first node."""
    return board(
        node(1, kind, [width, 48, 1, 255]),
        node(2, "SaveImage", ["card"]),
        wires=["1.0 > 2.images:IMAGE"],
    )


def picture(**texts: Any) -> bytes:
    """A PNG with named texts; what is no text is written as JSON."""
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text if isinstance(text, str) else json.dumps(text))
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=chunks)
    return out.getvalue()


def film(comment: Any) -> bytes:
    """The beginning of an MP4 with the comment that video nodes write."""
    said = _box(b"data", struct.pack(">II", 1, 0), json.dumps(comment).encode())
    handler = _box(b"hdlr", bytes(8), b"mdir", bytes(13))
    meta = _box(b"meta", bytes(4), handler, _box(b"ilst", _box(b"\xa9cmt", said)))
    return _box(b"ftyp", b"isom", bytes(4)) + _box(b"moov", _box(b"udta", meta)) + _box(b"mdat", bytes(64))


def _box(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I", len(body) + 8) + kind + body
