"""A finished batch as a folder in Outbox: the contact sheet, and one line for each job in `result.json`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from orchestrator_mcp import files
from orchestrator_mcp.domain.deliveries import BatchDelivery
from orchestrator_mcp.domain.jobs import job8
from orchestrator_mcp.domain.results import BATCH_SCHEMA
from watcher.results import read_result

SHEET: Final = "contact-sheet.png"


class BatchContent:
    """What stands in the folder of a batch.

    Args:
        delivery: the finished batch.

    Attributes:
        name: of its folder, if that is free.
        size: bytes of what is written beside `result.json`.
    """

    def __init__(self, delivery: BatchDelivery) -> None:
        self._delivery = delivery
        self.name = f"{files.safe_stem(delivery.stem)}__{job8(delivery.batch.batch_id)}"
        self.size = len(delivery.sheet or b"")

    def is_in(self, folder: Path) -> bool:
        """Whether a folder is the complete result of this batch, after as many retries."""
        batch = self._delivery.batch
        written = read_result(folder)
        wanted = (BATCH_SCHEMA, batch.batch_id, batch.retries)
        return (written.get("schema"), written.get("batch_id"), written.get("retries")) == wanted

    def fill(self, hidden: Path) -> None:
        """Write everything but `result.json`."""
        if self._delivery.sheet is not None:
            files.write_durably(hidden / SHEET, self._delivery.sheet)

    def document(self, folder: Path) -> dict[str, Any]:
        """What `result.json` says.

        Args:
            folder: where it will stand.
        """
        delivery = self._delivery
        batch = {**delivery.batch.model_dump(mode="json"), "path": str(folder)}
        sheet = SHEET if delivery.sheet is not None else None
        lines = [asdict(line) for line in delivery.lines]
        return {"schema": BATCH_SCHEMA, **batch, "stem": delivery.stem, "contact_sheet": sheet, "jobs": lines}
