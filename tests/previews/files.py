"""Picture files of every kind that outputs come in, made anew."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from PIL import Image, ImageDraw

from orchestrator_mcp.previews.pictures import Picture

RED, BLUE = (220, 30, 30), (30, 30, 220)


def two_halves(size: tuple[int, int] = (400, 200)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    ImageDraw.Draw(image).rectangle((size[0] // 2, 0, *size), fill=BLUE)
    return image


def saved(path: Path, image: Image.Image, format_name: str = "PNG", **options: object) -> Path:
    image.save(path, format_name, **options)
    return path


def shown(picture: Picture) -> Image.Image:
    """What a client sees, decoded to its end."""
    image = Image.open(io.BytesIO(picture.data))
    image.load()
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (picture.width, picture.height))
    return image


def is_like(image: Image.Image, where: tuple[float, float], colour: tuple[int, ...], *, within: int = 40) -> bool:
    """Whether a place of a picture (by shares of its sides) has about this colour."""
    found = image.getpixel((int(image.width * where[0]), int(image.height * where[1])))
    assert isinstance(found, tuple)
    return all(abs(one - other) <= within for one, other in zip(found, colour, strict=True))


def box(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def element(name: bytes, content: bytes) -> bytes:
    return name + bytes([0x10 | len(content) >> 24]) + (len(content) & 0xFFFFFF).to_bytes(3) + content
