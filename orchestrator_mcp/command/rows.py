"""Rows with headings that stay readable on a narrow terminal: columns where whole words fit, else a paragraph a row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 3  # columns between two cells
INDENT = 2


class Rows:
    """What a table shows, laid out when it is known how wide the terminal is.

    Args:
        headings: of the columns; the first names what a row is about, the second how that is.
        title: above the headings.
    """

    def __init__(self, *headings: str, title: Text | None = None) -> None:
        self._headings = tuple(Text(heading, style="bold") for heading in headings)
        self._rows: list[tuple[Text, ...]] = []
        self._title = title

    def add(self, *cells: Text) -> None:
        """Add a row.

        Args:
            cells: one for each heading.
        """
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._title is not None:
            yield self._title
        widths = share_width([self._headings, *self._rows], options.max_width)
        if widths is None:
            yield from self._paragraphs()
            return
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
        for width in widths:
            table.add_column(width=width, overflow="fold")
        for cells in (self._headings, *self._rows):
            table.add_row(*cells)
        yield table

    def _paragraphs(self) -> RenderResult:
        for first, second, *rest in self._rows:
            yield Text("  ").join([Text.styled(first.plain, "bold"), second])
            told = [
                Text.assemble((f"{heading.plain}: ", "dim"), cell)
                for heading, cell in zip_longest(self._headings[2:], rest, fillvalue=Text())
                if cell.plain
            ]
            if told:
                yield Padding(Text("   ").join(told), (0, 0, 0, INDENT))


def share_width(rows: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """How wide each column may be, so that no word is broken.

    Args:
        rows: the cells of each row.
        room: columns of the terminal.

    Returns:
        A width for each column; None when not even the longest words fit beside each other.
    """
    columns = list(zip(*rows, strict=True))
    least = [max(_longest_word(cell) for cell in column) for column in columns]
    most = [max(_longest_line(cell) for cell in column) for column in columns]
    spare = room - sum(least) - GAP * len(columns)
    if spare < 0:
        return None
    widths = list(least)
    by_need = sorted(range(len(widths)), key=lambda column: most[column] - least[column])
    for done, column in enumerate(by_need):  # those that need little get all of it; the rest is shared by the others
        given = min(most[column] - least[column], spare // (len(by_need) - done))
        widths[column] += given
        spare -= given
    return widths


def _longest_word(cell: Text) -> int:
    return max((Text(word).cell_len for word in cell.plain.split()), default=0)


def _longest_line(cell: Text) -> int:
    return max(Text(line).cell_len for line in cell.plain.split("\n"))
