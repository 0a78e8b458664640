"""Which font draws a letter: Pillow's own, else one with Chinese, Japanese and Korean letters where there is one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Final

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_OWN: Final = 0  # Pillow's
_PACKAGE: Final = "noto_cjk_sans_jp_regular"  # what the extra `cjk` brings: one file, all three scripts
_OF_SYSTEMS: Final = (
    "NotoSansCJK-Regular.ttc",  # Linux
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "YuGothR.ttc",  # Windows: Japanese, Chinese, Korean
    "msyh.ttc",
    "malgun.ttf",
    "ヒラギノ角ゴシック W3.ttc",  # macOS: the same
    "PingFang.ttc",
    "AppleSDGothicNeo.ttc",
)
_NOBODYS: Final = "\U0010ffff"  # no font has it, so its picture is that of a missing letter


def font_of(size: int) -> Font:
    """Give Pillow's own font in a size.

    Args:
        size: In pixels.
    """
    return _font(_OWN, size)


def has_letter(letter: str) -> bool:
    """Whether some font here draws a letter.

    Args:
        letter: One printable code point.
    """
    return _which(letter) is not None


def runs(text: str, size: int) -> Iterator[tuple[Font, str]]:
    """Divide a text into parts that one font draws.

    Args:
        text: A text; Pillow's own font stands in for letters that no font has.
        size: In pixels.
    """
    if text.isascii():
        yield font_of(size), text
        return
    for which, letters in groupby(text, key=lambda letter: _which(letter) or _OWN):
        yield _font(which, size), "".join(letters)


@lru_cache(maxsize=4096)
def _which(letter: str) -> int | None:
    """The first font that draws a letter; signs that only stand on another letter have none."""
    if letter.isascii():
        return _OWN
    if unicodedata.category(letter).startswith("M"):
        return None
    return next((which for which in range(len(_others()) + 1) if _draws(_font(which, 16), letter)), None)


def _draws(font: Font, letter: str) -> bool:
    return isinstance(font, ImageFont.FreeTypeFont) and bytes(font.getmask(letter)) != bytes(font.getmask(_NOBODYS))


@lru_cache(maxsize=128)
def _font(which: int, size: int) -> Font:
    size = max(4, size)
    if which == _OWN:
        return ImageFont.load_default(size)
    return ImageFont.truetype(_others()[which - 1], size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1)
def _others() -> tuple[str, ...]:
    """The files of further fonts: the one that was installed for this, else those that come with the system."""
    found = find_spec(_PACKAGE)
    installed = [
        str(file) for place in (found.submodule_search_locations or () if found else ()) for file in _in(place)
    ]
    return tuple(installed or filter(None, map(_of_system, _OF_SYSTEMS)))


def _in(place: str) -> list[Path]:
    return sorted(Path(place).glob("*.otf"))


def _of_system(name: str) -> str | None:
    """Where a font lies; Pillow knows the folders of each system."""
    try:
        return str(ImageFont.truetype(name, 16, layout_engine=ImageFont.Layout.BASIC).path)
    except OSError:
        return None
