"""Many pictures on one: a grid with captions, in which what is missing has its place and its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image, ImageDraw

from orchestrator_mcp.errors import NoPreviewError
from orchestrator_mcp.lettering import Block, clean, fitted, line_height, shortened, width_of, write
from orchestrator_mcp.previews.pictures import Picture, encoded, lossless
from orchestrator_mcp.previews.poster import GROUND, MUTED, PANEL, PAPER, draw_emblem
from orchestrator_mcp.previews.scaled import Source, decoded, measured

CELL: Final = 256  # pixels: the width of a cell
SMALLEST_CELL: Final = 96
_CELL_STEP: Final = 8  # pixels by which cells shrink until a sheet fits
MOST_CELLS: Final = 400
SHEET_BYTES: Final = 3_000_000

State = Literal["completed", "failed", "cancelled", "running", "queued"]

_CAPTION: Final = 160  # letters of a caption or reason that are looked at
_TILT: Final = (0.5, 1.5)  # height of a picture box by its width
_SHAPE: Final = 4 / 3  # width of a sheet by its height, where the number of cells allows it
_TALL: Final = 1.5  # how much more a tall sheet counts against the shape than a wide one
_HOLES: Final = 4.0  # how much an empty place in the last row counts against the shape
_COLOURS: Final = {
    "completed": (104, 178, 122),
    "failed": (226, 92, 82),
    "cancelled": (140, 146, 156),
    "running": (240, 177, 74),
    "queued": (98, 150, 214),
}


@dataclass(frozen=True, kw_only=True)
class SheetEntry:
    """One cell of a sheet.

    Attributes:
        picture: an image file, where it lies or open; None when there is none.
        caption: what tells it from its neighbours.
        state: of its job.
        reason: why there is no picture; shown in its place.
        kind: of the file, where it is not an image: its sign stands in the cell.
    """

    picture: Source | None = None
    caption: str
    state: State = "completed"
    reason: str = ""
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Grid:
    columns: int
    rows: int
    cell: int  # width of a picture box
    height: int  # of a picture box
    caption: int  # height of the words below it
    gap: int
    top: int  # where the first row begins

    @property
    def size(self) -> tuple[int, int]:
        foot = self.gap
        width = self.columns * (self.cell + self.gap) + self.gap
        return width, self.top + self.rows * (self.height + self.caption + self.gap) + foot

    def corner(self, number: int) -> tuple[int, int]:
        row, column = divmod(number, self.columns)
        return (
            self.gap + column * (self.cell + self.gap),
            self.top + row * (self.height + self.caption + self.gap),
        )


def contact_sheet(
    entries: Sequence[SheetEntry],
    *,
    title: str,
    columns: int | None = None,
    cell: int = CELL,
    longest: int | None = None,
    most: int = MOST_CELLS,
    most_bytes: int | None = SHEET_BYTES,
    total: int | None = None,
) -> Picture:
    """Draw a contact sheet.

    Args:
        entries: the cells, in order.
        title: what it is a sheet of.
        columns: how many cells stand side by side; by the shape of the pictures when None.
        cell: width of a cell, in pixels; small ones have smaller words.
        longest: pixels of the sheet's longer side, for which cells shrink to 96 and no further.
        most: how many cells are drawn, at most 400; the sheet says how many more there are.
        most_bytes: of the result, a JPEG; None makes a PNG of any size.
        total: how many entries there are in all, where only some are given.

    Raises:
        NoPreviewError: there is no entry.
    """
    if not entries:
        raise NoPreviewError("There is nothing to put on a sheet.")
    shown = entries[: min(max(1, most), MOST_CELLS)]
    sheet = _grid(shown, columns, max(SMALLEST_CELL, cell), longest)
    more = max(total or 0, len(entries)) - len(shown)
    image = Image.new("RGB", sheet.size, GROUND)
    draw = ImageDraw.Draw(image)
    _draw_title(draw, sheet, title, len(shown), more)
    for number, entry in enumerate(shown):
        _draw_cell(image, draw, sheet, number, entry)
    note = f"and {more} more" if more else ""
    return (
        lossless(image, note=note)
        if most_bytes is None
        else encoded(image, most_bytes=most_bytes, crisp=True, note=note)
    )


def _grid(entries: Sequence[SheetEntry], columns: int | None, cell: int, longest: int | None) -> _Grid:
    """The largest cells that were asked for and let the sheet fit."""
    tilt = _tilt(entries)
    sheet = _laid_out(len(entries), columns, cell, tilt, lines=2)
    while longest is not None and max(sheet.size) > longest and sheet.cell > SMALLEST_CELL:
        sheet = _laid_out(len(entries), columns, max(SMALLEST_CELL, sheet.cell - _CELL_STEP), tilt, lines=2)
    lines = max(len(_caption(entry, number, sheet.cell).lines) for number, entry in enumerate(entries))
    return sheet if lines == 2 else _laid_out(len(entries), sheet.columns, sheet.cell, tilt, lines=lines)


def _laid_out(count: int, columns: int | None, cell: int, tilt: float, *, lines: int) -> _Grid:
    height = round(cell * tilt)
    letters = _letters(cell)
    caption = line_height(letters) * lines + letters // 2
    gap = max(6, cell // 20)
    columns = min(columns or _columns(count, cell + gap, height + caption + gap), count)
    return _Grid(
        columns=columns,
        rows=-(-count // columns),
        cell=cell,
        height=height,
        caption=caption,
        gap=gap,
        top=gap * 2 + line_height(_title_letters(cell)),
    )


def _title_letters(cell: int) -> int:
    return max(14, cell // 13)


def _letters(cell: int) -> int:
    return max(10, min(16, cell // 17))


def _tilt(entries: Sequence[SheetEntry]) -> float:
    """How high the picture boxes are by their width: as three in four pictures need it, within reason."""
    tilts = sorted(tilt for entry in entries if (tilt := _tilt_of(entry)) is not None)
    wanted = tilts[len(tilts) * 3 // 4] if tilts else 1.0
    return min(max(wanted, _TILT[0]), _TILT[1])


def _tilt_of(entry: SheetEntry) -> float | None:
    if entry.picture is None:
        return None
    try:
        width, height = measured(entry.picture)
    except NoPreviewError:
        return None
    return height / width


def _columns(count: int, width: int, height: int) -> int:
    """How many cells side by side: near the shape of a screen, and few empty places in the last row."""

    def strain(columns: int) -> float:
        rows = -(-count // columns)
        wide = math.log(columns * width / (rows * height) / _SHAPE)
        return (wide if wide > 0 else -_TALL * wide) + _HOLES * (columns * rows - count) / count

    return min(range(1, count + 1), key=strain)


def _draw_title(draw: ImageDraw.ImageDraw, sheet: _Grid, title: str, shown: int, more: int) -> None:
    letters = _title_letters(sheet.cell)
    small = max(10, round(letters * 0.75))
    width = sheet.size[0] - 2 * sheet.gap
    count = f"{shown} shown, and {more} more" if more else ""
    room = round(width - width_of(count, small) - (2 * sheet.gap if count else 0))
    words = shortened(clean(title[:_CAPTION]), room, letters)
    write(draw, (sheet.gap, sheet.gap), words, letters, PAPER)
    if count:
        left = sheet.gap + width - round(width_of(count, small))
        write(draw, (left, sheet.gap + (letters - small)), count, small, MUTED)


def _draw_cell(image: Image.Image, draw: ImageDraw.ImageDraw, sheet: _Grid, number: int, entry: SheetEntry) -> None:
    left, top = sheet.corner(number)
    right, bottom = left + sheet.cell, top + sheet.height
    draw.rectangle((left, top, right - 1, bottom - 1), fill=PANEL)
    reason = entry.reason
    if entry.picture is not None:
        try:
            picture = decoded(entry.picture, box=(sheet.cell, sheet.height)).image
            image.paste(picture, (left + (sheet.cell - picture.width) // 2, top + (sheet.height - picture.height) // 2))
            reason = ""
        except NoPreviewError as error:
            reason = error.message
    if entry.picture is None or reason:
        _draw_reason(draw, sheet, (left, top), entry, reason)
    if entry.state != "completed":
        draw.rectangle((left, top, right - 1, bottom - 1), outline=_COLOURS[entry.state])
        _draw_flag(draw, sheet, (left, top), entry.state)
    _draw_caption(draw, sheet, (left, bottom), number, entry)


def _draw_reason(
    draw: ImageDraw.ImageDraw, sheet: _Grid, corner: tuple[int, int], entry: SheetEntry, reason: str
) -> None:
    left, top = corner
    letters = _letters(sheet.cell)
    pad = letters
    flag = line_height(letters) + pad if entry.state != "completed" else pad
    if entry.kind is not None:
        radius = max(8, min(sheet.cell, sheet.height) // 7)
        draw_emblem(draw, (left + sheet.cell // 2, top + sheet.height // 3), radius, entry.kind)
        flag = sheet.height // 3 + radius + pad
    room = sheet.height - flag - pad
    if not reason or room < line_height(8):
        return
    words = fitted(clean(reason[:_CAPTION]), sheet.cell - 2 * pad, room, largest=letters, smallest=min(9, letters))
    words.draw(draw, (left + pad, top + flag), PAPER if entry.state == "failed" else MUTED)


def _draw_flag(draw: ImageDraw.ImageDraw, sheet: _Grid, corner: tuple[int, int], state: State) -> None:
    left, top = corner
    letters = max(9, _letters(sheet.cell) - 2)
    pad = letters // 2
    word = state.upper()
    right = left + round(width_of(word, letters)) + 2 * pad
    draw.rectangle((left, top, right, top + line_height(letters) + pad // 2), fill=_COLOURS[state])
    write(draw, (left + pad, top + pad // 3), word, letters, GROUND)


def _draw_caption(
    draw: ImageDraw.ImageDraw, sheet: _Grid, corner: tuple[int, int], number: int, entry: SheetEntry
) -> None:
    left, bottom = corner
    letters = _letters(sheet.cell)
    top = bottom + letters // 3
    write(draw, (left, top), str(number + 1), letters, MUTED)
    _caption(entry, number, sheet.cell).draw(draw, (left + _indent(number, letters), top), PAPER)


def _caption(entry: SheetEntry, number: int, cell: int) -> Block:
    letters = _letters(cell)
    words = clean(entry.caption[:_CAPTION])
    room = cell - _indent(number, letters)
    return fitted(words, room, line_height(letters) * 2, largest=letters, smallest=letters)


def _indent(number: int, letters: int) -> int:
    return round(width_of(f"{number + 1} ", letters)) + letters // 3
