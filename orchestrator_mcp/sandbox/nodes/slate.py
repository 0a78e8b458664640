"""The slate: a card that says what a diffusion model would have been asked for, and that none was."""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import dataclass

from PIL import Image, ImageDraw

from orchestrator_mcp.lettering import clean, fitted, line_height, shortened, width_of, write
from orchestrator_mcp.sandbox.nodes.values import Latent, Sampling

Colour = tuple[int, int, int]

_PAPER: Colour = (244, 243, 238)
_MUTED: Colour = (168, 172, 180)
_DARK: Colour = (14, 15, 18)
_SMALL = 200
_TITLE = "SANDBOX SLATE"
_SUBTITLE = "placeholder card - no diffusion model was run"


@dataclass(frozen=True, kw_only=True)
class _Palette:
    top: Colour
    bottom: Colour
    accent: Colour


def draw_slate(latent: Latent, number: int) -> Image.Image:
    """Draw the slate of one latent of a batch; the same latent always gives the same picture.

    Args:
        latent: A sampled latent.
        number: Which of the batch, from 0.

    Returns:
        A picture of the latent's width and height.
    """
    sampling = latent.sampling
    if sampling is None:
        raise ValueError("only a sampled latent has a slate")
    palette = _palette(sampling.seed, number)
    size = (latent.width, latent.height)
    picture = _gradient(size, palette)
    draw = ImageDraw.Draw(picture)
    if min(size) < _SMALL:
        _draw_small(draw, size, palette, sampling)
    else:
        _draw_card(draw, size, palette, latent, sampling, number)
    return picture


def _palette(seed: int, number: int) -> _Palette:
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536
    shift = 0.04 + digest[2] / 255 * 0.14
    return _Palette(
        top=_colour(hue, 0.50, 0.27),
        bottom=_colour(hue + shift, 0.62, 0.13),
        accent=_colour(hue + 0.48, 0.58, 0.98),
    )


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _gradient(size: tuple[int, int], palette: _Palette) -> Image.Image:
    column = Image.linear_gradient("L").resize((1, size[1]))
    top, bottom = Image.new("RGB", (1, size[1]), palette.top), Image.new("RGB", (1, size[1]), palette.bottom)
    return Image.composite(bottom, top, column).resize(size)


def _draw_clapper(draw: ImageDraw.ImageDraw, width: int, height: int, accent: Colour) -> None:
    """Draw the striped bar of a film clapper along the upper edge."""
    draw.rectangle((0, 0, width, height), fill=_DARK)
    stripe = max(4, round(height * 1.5))
    for left in range(-2 * stripe, width + stripe, 2 * stripe):
        corners = [(left + height, 0), (left + height + stripe, 0), (left + stripe, height), (left, height)]
        draw.polygon(corners, fill=_PAPER)
    draw.rectangle((0, height, width, height + max(1, height // 9)), fill=accent)


def _draw_small(draw: ImageDraw.ImageDraw, size: tuple[int, int], palette: _Palette, sampling: Sampling) -> None:
    """Draw what can be read on a thumbnail: the title, the prompt and the seed."""
    width, height = size
    bar = max(3, height // 12)
    _draw_clapper(draw, width, bar, palette.accent)
    margin = max(2, min(size) // 24)
    room = width - 2 * margin
    bottom = height - margin
    title_room = max(2 * line_height(8), height * 3 // 10)
    title = fitted(_TITLE, room, title_room, largest=max(11, height // 7), smallest=8)
    top = title.draw(draw, (margin, bar + margin), palette.accent)
    small = max(8, min(size) // 13)
    seed_top = bottom - line_height(small)
    if seed_top > top:
        write(draw, (margin, seed_top), shortened(f"seed {sampling.seed}", room, small), small, _MUTED)
    left_over = seed_top - top - 1
    if left_over >= line_height(8):
        text = fitted(clean(sampling.positive), room, left_over, largest=small + 4, smallest=8)
        text.draw(draw, (margin, top), _PAPER)


def _facts(latent: Latent, sampling: Sampling, number: int) -> list[tuple[str, str]]:
    facts = [
        ("SEED", str(sampling.seed)),
        ("STEPS", str(sampling.steps)),
        ("CFG", f"{sampling.cfg:g}"),
        ("SAMPLER", sampling.sampler),
        ("SCHEDULER", sampling.scheduler),
        ("SIZE", f"{latent.width} x {latent.height}"),
    ]
    if sampling.denoise != 1.0:
        facts.append(("DENOISE", f"{sampling.denoise:g}"))
    if latent.batch > 1:
        facts.append(("IMAGE", f"{number + 1} of {latent.batch}"))
    facts.append(("MODEL", sampling.model.name))
    facts += [("LORA", f"{name} ({strength:g})") for name, strength in sampling.model.loras]
    return [(label, clean(value)) for label, value in facts]


def _draw_card(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    palette: _Palette,
    latent: Latent,
    sampling: Sampling,
    number: int,
) -> None:
    width, height = size
    unit = min(width, height)
    margin = round(unit * 0.055)
    room = width - 2 * margin
    bar = round(unit * 0.085)
    _draw_clapper(draw, width, bar, palette.accent)
    top = _draw_head(draw, (margin, bar + round(margin * 0.9)), room, unit, palette)
    facts_top = _draw_facts(draw, size, margin, palette, _facts(latent, sampling, number))
    _draw_words(draw, (margin, top + margin // 2), (room, facts_top - margin // 2), unit, palette, sampling)


def _draw_head(draw: ImageDraw.ImageDraw, corner: tuple[int, int], room: int, unit: int, palette: _Palette) -> int:
    """Draw title and subtitle.

    Returns:
        The lower edge.
    """
    title = fitted(_TITLE, room, round(unit * 0.13), largest=round(unit * 0.085), smallest=10)
    top = title.draw(draw, corner, palette.accent)
    small = max(9, round(unit * 0.026))
    write(draw, (corner[0], top), shortened(_SUBTITLE, room, small), small, _MUTED)
    return top + line_height(small)


def _draw_words(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    room: tuple[int, int],
    unit: int,
    palette: _Palette,
    sampling: Sampling,
) -> None:
    """Draw the two prompts between the head and the facts; ``room`` is the width and the lower edge."""
    left, top = corner
    width, bottom = room
    label = max(8, round(unit * 0.024))
    gap = line_height(label)
    negative = clean(sampling.negative)
    share = 0.72 if negative else 1.0
    height = bottom - top - gap * (3 if negative else 1)
    if height < line_height(9):
        return
    write(draw, (left, top), "PROMPT", label, palette.accent)
    positive = clean(sampling.positive) or "(empty)"
    smallest = max(8, round(unit * 0.018))
    text = fitted(positive, width, round(height * share), largest=max(10, round(unit * 0.07)), smallest=smallest)
    lower = text.draw(draw, (left, top + gap), _PAPER)
    rest = bottom - lower - 2 * gap
    if not negative or rest < line_height(smallest):
        return
    top = lower + gap
    write(draw, (left, top), "NEGATIVE", label, palette.accent)
    fitted(negative, width, rest, largest=max(9, round(unit * 0.036)), smallest=smallest).draw(
        draw, (left, top + gap), _MUTED
    )


def _draw_facts(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    margin: int,
    palette: _Palette,
    facts: list[tuple[str, str]],
) -> int:
    """Draw the facts as a table along the lower edge.

    Returns:
        The table's upper edge.
    """
    width, height = size
    unit = min(size)
    label, value = max(8, round(unit * 0.022)), max(9, round(unit * 0.034))
    columns = min(8, max(3, round(2.4 * width / unit)))
    cell = (width - 2 * margin) // columns
    rows = _rows(facts, columns, cell, value)
    shown = rows[: max(1, round(height * 0.45) // (line_height(label) + line_height(value)))]
    row_height = line_height(label) + line_height(value) + max(2, unit // 100)
    top = height - margin - row_height * len(shown)
    draw.line((margin, top - margin // 4, width - margin, top - margin // 4), fill=palette.accent)
    for row_number, row in enumerate(shown):
        row_top = top + row_number * row_height
        for column, span, name, text in row:
            left = margin + column * cell
            room = cell * span - max(4, unit // 60)
            write(draw, (left, row_top), name, label, palette.accent)
            write(draw, (left, row_top + line_height(label)), shortened(text, room, value), value, _PAPER)
    return top - margin // 4


def _rows(facts: list[tuple[str, str]], columns: int, cell: int, size: int) -> list[list[tuple[int, int, str, str]]]:
    """Lay the facts out: each takes as many columns as its text needs."""
    rows: list[list[tuple[int, int, str, str]]] = [[]]
    used = 0
    for name, text in facts:
        span = min(columns, max(1, -(-round(width_of(text, size) + size // 2) // cell)))
        if used + span > columns:
            rows.append([])
            used = 0
        rows[-1].append((used, span, name, text))
        used += span
    return rows
