"""A picture decoded to its end, as a backend will: damage inside is found here, before a render begins with it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

from PIL import Image

from orchestrator_mcp.assets.judging import judge_size
from orchestrator_mcp.errors import ManifestError

MOST_DECODED: Final = 89_478_485  # pixels; larger pictures are taken by their structure alone
FORMATS: Final = {
    "png": "PNG",
    "jpg": "JPEG",
    "webp": "WEBP",
    "gif": "GIF",
    "avif": "AVIF",
    "bmp": "BMP",
    "tif": "TIFF",
}
"""Extension -> the one decoder that is let near such a file."""

_FAILS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # what Pillow's readers raise at a hostile file


def try_decoding(path: Path, extension: str, pixels: int | None, *, at: tuple[str, ...]) -> None:
    """Decode the first frame of a picture, and throw it away. Files of other kinds are left alone.

    Args:
        path: where it lies.
        extension: by its content.
        pixels: how many it has, where its structure said so.
        at: where it is named, for messages.

    Raises:
        ManifestError: `asset_not_decodable` or `asset_too_large`.
    """
    decoder = FORMATS.get(extension)
    if decoder is None or (pixels or 0) > MOST_DECODED:
        return
    try:
        with Image.open(path, formats=[decoder]) as image:
            judge_size(image.size, at=at)
            if image.width * image.height <= MOST_DECODED:
                image.load()
    except ManifestError:
        raise
    except _FAILS as failure:
        message = f"is a {decoder} that cannot be decoded: it is damaged or of a rare kind"
        raise ManifestError.at(*at, message=message, code="asset_not_decodable") from failure
