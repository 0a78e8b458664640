"""What is known of the database from one transaction to the next, so that it is not looked up for each job anew."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.lanes import LaneSpec

MOST_ROWS: Final = 4_096


class Known:
    """Right as long as nobody else writes, and whatever was written with it is committed; begin another one after that.

    Attributes:
        last_job: the row that the newest job has, or would have; None until somebody has looked.
        last_seq: likewise the number of the newest history row.
    """

    def __init__(self) -> None:
        self.last_job: int | None = None
        self.last_seq: int | None = None
        self._rows: dict[str | LaneSpec, int] = {}

    def row(self, what: str | LaneSpec) -> int | None:
        """Where a graph or a lane stands, by its hash or its needs; None when that is not known."""
        return self._rows.get(what)

    def keep(self, what: str | LaneSpec, row: int) -> int:
        """Remember where a graph or a lane stands; gives the row back."""
        if len(self._rows) >= MOST_ROWS:
            self._rows.clear()
        self._rows[what] = row
        return row

    def forget_rows(self) -> None:
        """Some are deleted."""
        self._rows.clear()
