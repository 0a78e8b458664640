"""A small picture on its way to a caller: encoded so that it fits."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

from PIL import Image

_QUALITIES: Final = (88, 80, 70, 58, 44)
_SHRINK: Final = 0.8
_SMALLEST_SIDE: Final = 16  # pixels; a picture is not shrunk below that to save bytes


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file in memory.

    Attributes:
        data: the whole file.
        media_type: of it.
        width: in pixels.
        height: in pixels.
        note: what a viewer should know of how it was made, as part of a sentence; often empty.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    note: str = ""


def encoded(image: Image.Image, *, most_bytes: int, crisp: bool = False, note: str = "") -> Picture:
    """Make a JPEG that fits: first with less quality, then with fewer pixels. The same image gives the same bytes.

    Args:
        image: RGB.
        most_bytes: of the file; one of 16 pixels is given even if it is larger.
        crisp: keep the colours of thin lines and letters, at a few more bytes.
        note: see `Picture`.
    """
    while True:
        for quality in _QUALITIES:
            target = io.BytesIO()
            image.save(target, "JPEG", quality=quality, subsampling=0 if crisp else 2, optimize=True)
            if target.tell() <= most_bytes:
                return _picture(image, target, note)
        if max(image.size) <= _SMALLEST_SIDE:
            return _picture(image, target, note)
        smaller = (max(1, round(image.width * _SHRINK)), max(1, round(image.height * _SHRINK)))
        image = image.resize(smaller, Image.Resampling.LANCZOS)


def lossless(image: Image.Image, *, note: str = "") -> Picture:
    """Make a PNG, for a file that people keep.

    Args:
        image: RGB.
        note: see `Picture`.
    """
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=6)
    return _picture(image, target, note, media_type="image/png")


def as_file(image: Image.Image) -> io.BytesIO:
    """A picture as an open file, for whoever takes files.

    Args:
        image: RGB.
    """
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)
    target.seek(0)
    return target


def _picture(image: Image.Image, target: io.BytesIO, note: str, *, media_type: str = "image/jpeg") -> Picture:
    return Picture(data=target.getvalue(), media_type=media_type, width=image.width, height=image.height, note=note)
