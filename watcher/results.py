"""A finished job as a folder in Outbox: built hidden, then shown in one step.

The promise to whoever reads it: a folder without a leading dot is complete, and `result.json` in it was written last.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, BinaryIO, Final

from orchestrator_mcp import files
from orchestrator_mcp.domain.deliveries import Delivery, DeliveryFile
from orchestrator_mcp.domain.jobs import job8
from orchestrator_mcp.domain.results import RESULT_SCHEMA, is_result
from orchestrator_mcp.domain.steps import AtStep, Step, no_step

logger = logging.getLogger(__name__)

RESULT: Final = "result.json"
_HIDDEN = re.compile(r"\.\w[\w.-]*__[0-9a-f]{8}\.[0-9a-f]{16}")
_MOST_RESULT: Final = 64 << 20
_SPARE: Final = 16 << 20  # bytes that stay free beside the copies
_PIECE: Final = 1 << 20


class DamagedFileError(OSError):
    """An artifact is not what its job recorded; a copy of it must not be shown."""


class ResultFolder:
    """The Outbox as a place where results are put. Synchronous; call it in a thread.

    Args:
        outbox: the folder.
        at_step: see `domain.steps`.
    """

    def __init__(self, outbox: Path, *, at_step: AtStep = no_step) -> None:
        self.outbox = outbox
        self._at_step = at_step

    def prepare(self) -> None:
        """Make the Outbox at the start, and delete what runs before left unfinished in it."""
        self.outbox.mkdir(parents=True, exist_ok=True)
        with os.scandir(self.outbox) as listing:
            left = [
                entry.path for entry in listing if _HIDDEN.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
        for path in left:
            shutil.rmtree(path)
            logger.info("An unfinished result was removed: %s", files.printable(path))

    def publish(self, delivery: Delivery) -> Path:
        """Put a job's files and `result.json` into a folder of their own; once, however often it is called.

        Returns:
            The folder, durably there.

        Raises:
            OSError: it cannot be written now.
            DamagedFileError: an artifact is gone or not what the job recorded.
        """
        name = f"{files.safe_stem(delivery.stem)}__{job8(delivery.job.job_id)}"
        hidden: Path | None = None
        try:
            for candidate in files.free_names(name):
                final = self.outbox / candidate
                if os.path.lexists(final):
                    if _holds(final, delivery.job.job_id):
                        return final
                    continue
                hidden = hidden or self._build(delivery, name)
                self._at_step(Step.COPIED)
                if _shown(delivery, hidden, final):
                    hidden = None
                    return final
        finally:
            if hidden is not None:
                shutil.rmtree(hidden, ignore_errors=True)
        raise FileExistsError(f"every folder name like {name} is taken")

    def _build(self, delivery: Delivery, name: str) -> Path:
        delivered = delivered_files(delivery)
        if not self.outbox.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"the Outbox {self.outbox} is gone; put it back where it was")
        wanted = sum(file.size for file in delivered) + _SPARE
        free = files.free_space(self.outbox)
        if free < wanted:
            raise OSError(f"the Outbox has {free >> 20} MB free; {wanted >> 20} MB are needed")
        hidden = self.outbox / f".{name}.{secrets.token_hex(8)}"
        hidden.mkdir()
        try:
            for file, copy_name in zip(delivered, copy_names(delivered), strict=True):
                _copy(file, hidden / copy_name)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        return hidden


def delivered_files(delivery: Delivery) -> tuple[DeliveryFile, ...]:
    """What is copied: a job that failed or was cancelled has no files that count."""
    return delivery.files if delivery.job.status == "completed" else ()


def copy_names(delivered: tuple[DeliveryFile, ...]) -> list[str]:
    """What the copies are called: their names in the job, made safe once more; none is `result.json`."""
    return files.unique_names([RESULT, *(files.safe_stem(file.name, most_bytes=128) for file in delivered)])[1:]


def result_document(delivery: Delivery, folder: Path) -> dict[str, Any]:
    """What `result.json` says.

    Args:
        delivery: the finished job.
        folder: where its copies will stand.
    """
    document = delivery.job.model_dump(mode="json")
    delivered = delivered_files(delivery)
    copies = dict(zip((file.name for file in delivered), copy_names(delivered), strict=True))
    for output in document["outputs"]:
        copy = copies.get(output["name"])
        output["path"] = str(folder / copy) if copy is not None else None
    return {
        "schema": RESULT_SCHEMA,
        **document,
        "stem": delivery.stem,
        "graph": delivery.graph,
        "timings": delivery.timings,
    }


def _shown(delivery: Delivery, hidden: Path, final: Path) -> bool:
    """Write `result.json` for that name and show the folder; False when somebody took the name meanwhile."""
    text = json.dumps(result_document(delivery, final.absolute()), ensure_ascii=False, indent=2)
    files.write_durably(hidden / RESULT, text.encode("utf-8", "backslashreplace") + b"\n")
    try:
        files.publish_directory(hidden, final)
    except FileExistsError:
        return False
    return True


def _holds(folder: Path, job_id: str) -> bool:
    """Whether a folder is the complete result of a job."""
    try:
        written = json.loads(files.read_regular(folder / RESULT, most=_MOST_RESULT).content)
    except (OSError, ValueError, RecursionError):
        return False
    return is_result(written) and written.get("job_id") == job_id


def _copy(file: DeliveryFile, target: Path) -> None:
    with open(file.source, "rb") as source, files.write_new(target) as copy:
        size, sha256 = _copied(source, copy)
        if (size, sha256) != (file.size, file.sha256):
            raise DamagedFileError(f"the stored file of {file.name} is damaged: {size} bytes, sha256 {sha256}")
        files.flush(copy)


def _copied(source: BinaryIO, copy: BinaryIO) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        copy.write(piece)
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()
