"""Spelling text so that it can be drawn, and fitting it into boxes."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

from orchestrator_mcp.lettering.typefaces import font_of, has_letter, runs

_LEADING = 1.28
_LONGEST = 2000
_MISSING = "\x00"  # stands for a letter that cannot be drawn; a clean text has none
_DOTS = "..."
_SPELLED = str.maketrans(
    {
        "\u00df": "ss",
        "\u00e6": "ae",
        "\u00c6": "AE",
        "\u0153": "oe",
        "\u0152": "OE",
        "\u00f8": "o",
        "\u00d8": "O",
        "\u0142": "l",
        "\u0141": "L",
        "\u0111": "d",
        "\u0110": "D",
        "\u0131": "i",
        "\u00d7": "x",
        "\u2013": "-",
        "\u2014": "-",
        "\u2022": "-",
        "\u2192": "->",
        "\u2190": "<-",
        "\u2264": "<=",
        "\u2265": ">=",
    }
)  # letters that Pillow's font lacks, as people spell them without


def line_height(size: int) -> int:
    """Give the distance of two lines.

    Args:
        size: The font's size, in pixels.
    """
    return max(5, round(size * _LEADING))


def clean(text: str) -> str:
    """Make any text drawable: one line, not endless, without control characters, in letters that a font here has.

    Accents go where they must; what no spelling helps becomes three dots a run, and has to be told beside the picture.

    Args:
        text: A text from outside.
    """
    text = text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
    line = re.sub(r"\s+", " ", "".join(one if one.isprintable() else " " for one in text)).strip()
    if line.isascii():
        return line
    spelled = "".join(map(_spelled, unicodedata.normalize("NFC", line)))
    return re.sub(f"{_MISSING}(?:[ {_MISSING}]*{_MISSING})?", _DOTS, spelled)


def _spelled(letter: str) -> str:
    if has_letter(letter):
        return letter
    parts = unicodedata.normalize("NFKD", letter.translate(_SPELLED))
    plain = (part for part in parts if not unicodedata.category(part).startswith("M"))
    return "".join(part if has_letter(part) else _MISSING for part in plain)


def write(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, size: int, fill: tuple[int, int, int]) -> None:
    """Draw a line.

    Args:
        draw: Where to.
        corner: Its left upper corner.
        text: A drawable text without line breaks.
        size: The font's size, in pixels.
        fill: The colour.
    """
    left, top = corner
    own = font_of(size)
    if text.isascii() or not isinstance(own, ImageFont.FreeTypeFont):
        draw.text((left, top), text, font=own, fill=fill)
        return
    reach, base = float(left), top + own.getmetrics()[0]
    for font, part in runs(text, size):
        draw.text((round(reach), base), part, font=font, fill=fill, anchor="ls")
        reach += font.getlength(part)


def width_of(text: str, size: int) -> float:
    """Measure a line.

    Args:
        text: A clean text without line breaks.
        size: The font's size, in pixels.
    """
    return sum(font.getlength(part) for font, part in runs(text, size))


@dataclass(frozen=True, kw_only=True)
class Block:
    """A text that has been fitted into a box.

    Attributes:
        lines: The wrapped lines.
        size: The font's size, in pixels.
    """

    lines: tuple[str, ...]
    size: int

    @property
    def height(self) -> int:
        """The height of all lines, in pixels."""
        return line_height(self.size) * len(self.lines)

    def draw(self, draw: ImageDraw.ImageDraw, corner: tuple[int, int], fill: tuple[int, int, int]) -> int:
        """Draw the lines.

        Args:
            draw: Where to.
            corner: The left upper corner of the box.
            fill: The colour.

        Returns:
            The lower edge of what was drawn.
        """
        left, top = corner
        for line in self.lines:
            write(draw, (left, top), line, self.size, fill)
            top += line_height(self.size)
        return top


def fitted(text: str, width: int, height: int, *, largest: int, smallest: int) -> Block:
    """Wrap a text in the largest size that fits a box; cut it short if even the smallest does not.

    Args:
        text: A clean text.
        width: The box, in pixels.
        height: The box, in pixels.
        largest: The largest font size, in pixels.
        smallest: The smallest font size, in pixels.
    """
    low, high = smallest, max(largest, smallest)
    best = Block(lines=_wrapped(text, width, smallest), size=smallest)
    while low <= high:
        size = (low + high) // 2
        block = Block(lines=_wrapped(text, width, size), size=size)
        if block.height <= height:
            best, low = block, size + 1
        else:
            high = size - 1
    room = max(1, height // line_height(best.size))
    if len(best.lines) <= room:
        return best
    lines = best.lines[:room]
    return Block(lines=(*lines[:-1], shortened(lines[-1] + " ...", width, best.size)), size=best.size)


def shortened(text: str, width: int, size: int) -> str:
    """Cut a line so that it fits, with dots where something is missing.

    Args:
        text: A clean text.
        width: The room, in pixels.
        size: The font's size, in pixels.
    """
    if width_of(text, size) <= width:
        return text
    text = text.removesuffix(" ...")
    while text and width_of(text + "...", size) > width:
        text = text[:-1]
    return text.rstrip() + "..."


def _wrapped(text: str, width: int, size: int) -> tuple[str, ...]:
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width_of(longer, size) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while width_of(line, size) > width and len(line) > 1:
            cut = _cut(line, width, size)
            lines.append(line[:cut])
            line = line[cut:]
    return (*lines, line) if line else tuple(lines)


def _cut(word: str, width: int, size: int) -> int:
    """Find how many letters of a long word fit, at least one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if width_of(word[:middle], size) <= width:
            low = middle
        else:
            high = middle - 1
    return low
