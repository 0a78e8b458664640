"""Files and graphs for tests of inputs."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

from PIL import Image

from orchestrator_mcp.sandbox import SandboxServer

BEGIN: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "shot"}},
}
"""Inverts a picture."""

MASKED: dict[str, Any] = {
    "1": {"class_type": "LoadImageMask", "inputs": {"image": "example.png", "channel": "red"}},
    "2": {"class_type": "MaskToImage", "inputs": {"mask": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "mask"}},
}
"""Shows the red of a picture as grey."""


SOUND = (b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)) + (
    b"data" + struct.pack("<I", 0)
)
"""A WAV of no length."""


def png(colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 8)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def claimed_png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG that is whole by its structure: of the size that it claims, with these bytes packed in it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def sha_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


def uploads(server: SandboxServer) -> list[str]:
    """What was uploaded to a server, in order."""
    return [line["name"] for line in server.oracle.lines if line["event"] == "uploaded"]
