"""What Pillow is trusted with: which decoders are let near a file, how large it may be, and how they fail."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from PIL import Image

DECODERS: Final = {
    "png": "PNG",
    "jpg": "JPEG",
    "webp": "WEBP",
    "gif": "GIF",
    "avif": "AVIF",
    "bmp": "BMP",
    "tif": "TIFF",
}
"""Extension -> the one decoder that is let near such a file."""

MOST_DECODED: Final = 89_478_485  # pixels; Pillow's own bound, beyond which it warns: 9,459 by 9,459

DECODING_FAILS: Final = (
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
    Warning,  # where warnings are errors
)
"""Everything that Pillow's readers have been seen to raise at a hostile file."""
