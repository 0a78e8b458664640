"""Small whole files of every kind that is checked, made anew."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable

from PIL import Image


def picture(format_name: str, *, frames: int = 1, **options: object) -> bytes:
    target = io.BytesIO()
    images = [Image.effect_noise((24, 16), 50 + number).convert("RGB") for number in range(frames)]
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(target, format_name, **more, **options)
    return target.getvalue()


def box(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def long_box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 1) + name + struct.pack(">Q", 16 + len(content)) + content


def archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as writer:
        writer.writestr("a.txt", "a" * 100)
    return target.getvalue()


MP4_PARTS = [box(b"ftyp", b"isom\x00\x00\x02\x00isomiso2"), long_box(b"mdat", b"x" * 99), box(b"moov", b"m" * 40)]

WHOLE: dict[str, Callable[[], bytes]] = {
    "png": lambda: picture("PNG"),
    "jpg": lambda: picture("JPEG"),
    "jpg (progressive)": lambda: picture("JPEG", progressive=True),
    "gif": lambda: picture("GIF"),
    "gif (moving)": lambda: picture("GIF", frames=3),
    "webp": lambda: picture("WEBP"),
    "webp (lossless)": lambda: picture("WEBP", lossless=True),
    "webp (moving)": lambda: picture("WEBP", frames=3),
    "mp4": lambda: b"".join(MP4_PARTS),
    "mov": lambda: box(b"ftyp", b"qt  \x00\x00\x00\x00qt  ") + box(b"moov", b"m" * 9) + box(b"mdat", b"x" * 9),
    "zip": archive,
    "glb": lambda: b"glTF" + struct.pack("<II", 2, 20) + b"12345678",
    "json": lambda: json.dumps({"a": [1, 2, 3]}).encode(),
}
