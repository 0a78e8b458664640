"""What lies in Outbox, checked against what its `result.json` says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.documents import parse_document
from orchestrator_mcp.domain.jobs import job8
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.errors import ArtifactError

DELIVERED_WITHIN: Final = 30.0  # seconds after the job's end
_LOOK: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A job's folder in Outbox.

    Attributes:
        folder: the folder.
        files: its files, each as large as declared and with the declared hash.
    """

    folder: Path
    files: tuple[Path, ...]


async def check_delivery(outbox: Path, job: JobView, clock: Clock) -> Delivered:
    """Wait for a completed job's folder, and check every file in it.

    Args:
        outbox: where it will appear.
        job: the job.
        clock: the time.

    Raises:
        ArtifactError: it does not come, or a file is not what `result.json` says.
    """
    with anyio.move_on_after(DELIVERED_WITHIN):
        while True:
            if (delivered := await anyio.to_thread.run_sync(_look, outbox, job8(job.job_id))) is not None:
                return delivered
            await clock.sleep(_LOOK)
    raise ArtifactError(f"Job {job.job_id} did not appear in {outbox} within {DELIVERED_WITHIN:.0f} s.")


def _look(outbox: Path, ending: str) -> Delivered | None:
    found = next(outbox.glob(f"*__{ending}/result.json"), None)
    return None if found is None else _check(found.parent)


def _check(folder: Path) -> Delivered:
    document = parse_document((folder / "result.json").read_bytes())
    files = []
    for output in document["outputs"]:
        path = Path(output["path"])
        content = path.read_bytes()
        if len(content) != output["size"] or hashlib.sha256(content).hexdigest() != output["sha256"]:
            raise ArtifactError(f"{path} is not what result.json beside it says.")
        files.append(path)
    return Delivered(folder=folder, files=tuple(files))
