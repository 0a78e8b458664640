"""A picture made small, from a file that may be anything: its size is looked at before a pixel of it is decoded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, ImageDraw, UnidentifiedImageError

from orchestrator_mcp.decoders import DECODERS, DECODING_FAILS, MOST_DECODED
from orchestrator_mcp.domain import media
from orchestrator_mcp.domain.media import MOST_PIXELS_A_SIDE
from orchestrator_mcp.errors import NoPreviewError
from orchestrator_mcp.previews.pictures import Picture, encoded

LONGEST: Final = 768  # pixels of a picture's longer side, unless asked otherwise
MOST_BYTES: Final = 150_000  # what a picture for a model may weigh

MEDIA_TYPES: Final = frozenset(
    found.media_type for found in (media.PNG, media.JPEG, media.WEBP, media.GIF, media.AVIF, media.BMP, media.TIFF)
)
"""What can be decoded, as HTTP names it."""

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_CHECKER: Final = 12  # pixels of a square behind what is transparent
_LIGHT, _DARK = (204, 204, 204), (170, 170, 170)

Source = Path | BinaryIO


@dataclass(frozen=True, kw_only=True)
class Upright:
    """A decoded picture as a person would see it.

    Attributes:
        image: RGB, not larger than it was asked for.
        width: of the file's own picture, in pixels.
        height: of the file's own picture, in pixels.
        moving: whether the file has more than this first frame.
        transparent: whether parts of it are, and a checker stands behind them.
    """

    image: Image.Image
    width: int
    height: int
    moving: bool
    transparent: bool

    @property
    def note(self) -> str:
        """What should be said of it."""
        parts = ["the first frame of an animation"] if self.moving else []
        parts += ["its transparent parts are shown as a checker"] if self.transparent else []
        return ", ".join(parts)


def scaled(source: Source, *, longest: int = LONGEST, most_bytes: int = MOST_BYTES) -> Picture:
    """Make a small JPEG of a picture file.

    Args:
        source: where it lies, or the open file.
        longest: pixels of its longer side; a smaller picture is left as it is.
        most_bytes: of the result.

    Raises:
        NoPreviewError: it is too large, damaged, gone, or no picture that can be decoded here.
    """
    upright = decoded(source, box=(longest, longest))
    return encoded(upright.image, most_bytes=most_bytes, note=upright.note)


def measured(source: Source) -> tuple[int, int]:
    """Width and height of a picture as it stands upright, in pixels, from its header.

    Raises:
        NoPreviewError: see `scaled`.
    """
    with _opened(source) as image:
        return _upright_size(image)


def decoded(source: Source, *, box: tuple[int, int]) -> Upright:
    """Decode the first frame of a picture file: turned upright, on white or checker, in RGB, fitted into a box.

    Args:
        source: where it lies, or the open file.
        box: most pixels of width and height.

    Raises:
        NoPreviewError: see `scaled`.
    """
    with _opened(source) as image:
        width, height = _upright_size(image)
        moving = bool(getattr(image, "is_animated", False))
        inner = (box[1], box[0]) if (width, height) != image.size else box  # as the file lies, not as it is seen
        orientation = _orientation(image)
        image.draft(None, _fitted(image.size, inner))
        flat = _turned(_shrunk(image, inner), orientation)
        transparent = flat.mode == "RGBA" and flat.getchannel("A").getextrema()[0] != 255
        shown = _on_checker(flat) if transparent else flat.convert("RGB")
        return Upright(image=shown, width=width, height=height, moving=moving, transparent=transparent)


@contextmanager
def _opened(source: Source) -> Iterator[Image.Image]:
    try:
        with Image.open(source, formats=tuple(DECODERS.values())) as image:
            _check_size(image)
            yield image
    except FileNotFoundError as gone:
        raise NoPreviewError("The file is no longer kept here.") from gone
    except UnidentifiedImageError as unknown:
        raise NoPreviewError("It is not a picture that can be decoded here.") from unknown
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise _too_large(f"more than {MOST_DECODED:,} pixels") from bomb
    except DECODING_FAILS as failure:
        raise NoPreviewError("The picture is damaged or of a rare kind: it cannot be decoded.") from failure


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_DECODED or max(width, height) > MOST_PIXELS_A_SIDE:
        raise _too_large(f"{width} x {height} pixels")


def _too_large(size: str) -> NoPreviewError:
    return NoPreviewError(f"The picture is too large to be shown small: {size}.", hint="Open the file itself.")


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def _orientation(image: Image.Image) -> int:
    """How the camera was held, as Exif numbers it; a picture without Exif is not decoded to look for some."""
    said = image.getexif().get(_ORIENTATION) if "exif" in image.info or image.format == "TIFF" else None
    return said if isinstance(said, int) else 1


def _fitted(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The size of a picture shrunk into a box, its sides in proportion, none below one pixel."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    steps = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    step = steps.get(orientation)
    return image if step is None else image.transpose(step)


def _shrunk(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """In RGB, or RGBA where something may be transparent, fitted into a box."""
    size = _fitted(image.size, box)
    if image.mode[0] in "IF":  # first small, then grey: these take four bytes for each pixel
        deep = image.convert("F").resize(size, Image.Resampling.BOX, reducing_gap=3.0)
        return _grey(deep, whole=image.mode != "F").convert("RGB")
    return _plain_colours(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _plain_colours(image: Image.Image) -> Image.Image:
    if image.mode in ("RGB", "RGBA"):
        return image.convert("RGBA") if "transparency" in image.info else image
    see_through = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if see_through else "RGB")


def _grey(deep: Image.Image, *, whole: bool) -> Image.Image:
    """Greys of 16 or 32 bits, or fractions, as 8 bits: by the range that such a file uses, else by its own."""
    low, high = deep.getextrema()
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("its greys are not numbers")
    floor, ceiling = _grey_range(low, high, whole=whole)
    scale = 255.0 / (ceiling - floor)
    return deep.point(lambda value: value * scale - floor * scale).convert("L")


def _grey_range(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    usual = 65_535.0 if whole else 1.0
    if low >= 0 and high <= usual:
        return 0.0, usual
    return low, high if high > low else low + 1.0


def _on_checker(image: Image.Image) -> Image.Image:
    board = Image.new("RGB", image.size, _LIGHT)
    draw = ImageDraw.Draw(board)
    for top in range(0, image.height, _CHECKER):
        for left in range((top // _CHECKER % 2) * _CHECKER, image.width, 2 * _CHECKER):
            draw.rectangle((left, top, left + _CHECKER - 1, top + _CHECKER - 1), fill=_DARK)
    board.paste(image, mask=image.getchannel("A"))
    return board
