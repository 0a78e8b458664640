"""What stands for a file that is no picture: the first frame of a video, else a card that says what the file is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from orchestrator_mcp.lettering import clean, fitted, line_height, shortened, width_of, write
from orchestrator_mcp.previews.containers import film
from orchestrator_mcp.previews.frames import DECODES, first_frame
from orchestrator_mcp.previews.pictures import Picture, encoded
from orchestrator_mcp.previews.scaled import LONGEST, MOST_BYTES

PAPER: Final = (236, 238, 241)
MUTED: Final = (154, 161, 171)
GROUND: Final = (22, 24, 28)
PANEL: Final = (36, 39, 45)
LINE: Final = (62, 67, 76)
FRAME_NOTE: Final = "the first frame of a video"
_ACCENT: Final = (240, 177, 74)

_WHY: Final = {
    "video": (
        "No frame is shown: this video cannot be decoded. Open the file."
        if DECODES
        else "No frame is shown: the extra 'video' is not installed here. Open the file."
    ),
    "audio": "Sound cannot be shown. Open the file to hear it.",
    "text": "This is a text. Open the file to read it.",
    "model": "A 3D model is not rendered here. Open the file.",
    "image": "This kind of picture is not decoded here. Open the file.",
}
_WHY_FILE: Final = "There is no picture of this kind of file. Open it."


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The file that a card stands for.

    Attributes:
        name: what it is called.
        kind: image, video, audio, text, model or file.
        media_type: of its content.
        size: bytes.
    """

    name: str
    kind: str
    media_type: str
    size: int


def poster(path: Path, subject: Subject, *, longest: int = LONGEST, most_bytes: int = MOST_BYTES) -> Picture:
    """Show the first frame of a video with the sign of one, or draw the card of a file.

    Args:
        path: where it lies.
        subject: what is known of it.
        longest: pixels of the longer side; a card is 16 to 9.
        most_bytes: of the result.
    """
    if subject.kind == "video" and (frame := still(path, subject.media_type, longest)) is not None:
        return encoded(frame, most_bytes=most_bytes, note=FRAME_NOTE)
    facts = facts_of(path, subject)
    size = (longest, max(1, round(longest * 9 / 16)))
    image = Image.new("RGB", size, GROUND)
    _draw_card(ImageDraw.Draw(image), size, subject, facts)
    return encoded(image, most_bytes=most_bytes, crisp=True, note=_WHY.get(subject.kind, _WHY_FILE))


def still(path: Path, media_type: str, longest: int) -> Image.Image | None:
    """The first frame of a video, small and with the sign of one in its corner; None where it cannot be decoded.

    Args:
        path: where it lies.
        media_type: of its content.
        longest: pixels of the longer side; a small frame is not made larger.
    """
    frame = first_frame(path, media_type)
    if frame is None:
        return None
    frame.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    radius = max(6, min(frame.size) // 20)
    draw_emblem(ImageDraw.Draw(frame), (2 * radius, frame.height - 2 * radius), radius, "video")
    return frame


def facts_of(path: Path, subject: Subject) -> str:
    """One line: what kind of file it is, how long and how large.

    Args:
        path: where it lies.
        subject: what is known of it.
    """
    parts = [subject.media_type]
    if subject.kind == "video":
        known = film(path)
        parts += [f"{known.width} x {known.height}"] if known.width else []
        parts += [spelled_time(known.seconds)] if known.seconds is not None else []
    return ", ".join([*parts, spelled_size(subject.size)])


def spelled_time(seconds: float) -> str:
    """A duration for people: `4.0 s`, `1:05 min`, `2:00:01 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def spelled_size(count: int) -> str:
    """A number of bytes for people: `312 B`, `4.2 kB`, `1.3 MB`."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def draw_emblem(draw: ImageDraw.ImageDraw, centre: tuple[int, int], radius: int, kind: str) -> None:
    """Draw the sign of a kind of file: a play button, bars of sound, lines of text, a sheet.

    Args:
        draw: where to.
        centre: its middle.
        radius: half its size, in pixels.
        kind: image, video, audio, text, model or file.
    """
    x, y = centre
    thick = max(1, radius // 12)
    if kind == "video":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_ACCENT, width=thick)
        reach = round(radius * 0.45)
        draw.polygon(
            [(x - round(reach * 0.7), y - reach), (x - round(reach * 0.7), y + reach), (x + reach, y)], _ACCENT
        )
    elif kind == "audio":
        step = max(2, radius // 4)
        for number, share in enumerate((0.3, 0.7, 1.0, 0.55, 0.85, 0.4, 0.2)):
            left, reach = x + (number - 3) * step, round(radius * share)
            draw.line((left, y - reach, left, y + reach), fill=_ACCENT, width=max(1, step // 2))
    else:
        half = round(radius * 0.72)
        draw.rectangle((x - half, y - radius, x + half, y + radius), outline=_ACCENT, width=thick)
        for share in (-0.5, -0.15, 0.2, 0.55):
            line = y + round(radius * share)
            end = x + half // 2 if share < 0.5 else x
            draw.line((x - half // 2, line, end, line), fill=_ACCENT, width=thick)


def _draw_card(draw: ImageDraw.ImageDraw, size: tuple[int, int], subject: Subject, facts: str) -> None:
    width, height = size
    margin = max(4, width // 24)
    room = width - 2 * margin
    radius = max(6, height // 8)
    draw.rectangle((margin // 2, margin // 2, width - margin // 2, height - margin // 2), fill=PANEL, outline=LINE)
    draw_emblem(draw, (width // 2, round(height * 0.32)), radius, subject.kind)
    large, small = max(8, width // 28), max(7, width // 44)
    name = fitted(clean(subject.name), room, line_height(large) * 2, largest=large, smallest=small)
    top = round(height * 0.56)
    for line in name.lines:
        top = _centred(draw, line, top, size, name.size, PAPER)
    top = _centred(draw, shortened(facts, room, small), top + small // 2, size, small, MUTED)
    why = fitted(_WHY.get(subject.kind, _WHY_FILE), room, line_height(small) * 2, largest=small, smallest=7)
    for line in why.lines:
        top = _centred(draw, line, top + small // 3, size, why.size, MUTED)


def _centred(
    draw: ImageDraw.ImageDraw, text: str, top: int, size: tuple[int, int], letters: int, fill: tuple[int, int, int]
) -> int:
    left = (size[0] - round(width_of(text, letters))) // 2
    write(draw, (left, top), text, letters, fill)
    return top + line_height(letters)
