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
from typing import Any, BinaryIO, Final, Protocol

from orchestrator_mcp import files
from orchestrator_mcp.domain.deliveries import Delivery, DeliveryFile
from orchestrator_mcp.domain.jobs import job8
from orchestrator_mcp.domain.reports import RenderReport
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


class Content(Protocol):
    """What is put into a folder of its own."""

    @property
    def size(self) -> int:
        """Bytes of what `fill` writes."""

    def is_in(self, folder: Path) -> bool:
        """Whether a folder that is there already holds all of it."""

    def fill(self, hidden: Path) -> None:
        """Write everything but `result.json`. Raises OSError."""

    def document(self, folder: Path) -> dict[str, Any]:
        """What `result.json` says, for the folder where it will stand."""


class ResultFolder:
    """The Outbox as a place where results are put. Synchronous; call it in a thread.

    Args:
        outbox: the folder.
        at_step: see `domain.steps`.
    """

    def __init__(self, outbox: Path, *, at_step: AtStep = no_step) -> None:
        self.outbox = outbox
        self._at_step = at_step
        self._mounted = False

    def prepare(self) -> None:
        """Make the Outbox at the start, and delete what runs before left unfinished in it."""
        self.outbox.mkdir(parents=True, exist_ok=True)
        self._mounted = os.path.ismount(self.outbox)
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
        return self.put(f"{files.safe_stem(delivery.stem)}__{job8(delivery.job.job_id)}", _JobContent(delivery))

    def put(self, name: str, content: Content) -> Path:
        """Put something into a folder of its own; once, however often it is called.

        Args:
            name: of the folder; a number is added where it is taken.
            content: what stands in it.

        Returns:
            The folder, durably there.

        Raises:
            OSError: it cannot be written now.
        """
        hidden: Path | None = None
        try:
            for candidate in files.free_names(name):
                final = self.outbox / candidate
                if os.path.lexists(final):
                    if content.is_in(final):
                        return final
                    continue
                hidden = hidden or self._build(content, name)
                self._at_step(Step.COPIED)
                if _shown(content, hidden, final):
                    hidden = None
                    return final
        finally:
            if hidden is not None:
                shutil.rmtree(hidden, ignore_errors=True)
        raise FileExistsError(f"every folder name like {name} is taken")

    def _build(self, content: Content, name: str) -> Path:
        if not self.outbox.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"the Outbox {self.outbox} is gone; put it back where it was")
        if self._mounted and not os.path.ismount(self.outbox):
            # what is written beneath a mount point is hidden by the next mount, and looks lost
            raise OSError(f"the Outbox {self.outbox} is no longer mounted; mount it again")
        wanted = content.size + _SPARE
        free = files.free_space(self.outbox)
        if free < wanted:
            raise OSError(f"the Outbox has {free >> 20} MB free; {wanted >> 20} MB are needed")
        hidden = self.outbox / f".{name}.{secrets.token_hex(8)}"
        hidden.mkdir()
        try:
            content.fill(hidden)
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
        **({} if delivery.report is None else _rendering(delivery.report, delivery.job.backend_id)),
    }


def _rendering(report: RenderReport, backend_id: str | None) -> dict[str, Any]:
    """What is known of the render itself; how long each node took is left out where it was not heard."""
    timings = {"node_timings": report.node_timings, "cached_nodes": report.cached_nodes}
    return {
        "backend": {"id": backend_id, "comfyui_version": report.comfyui_version, "device": report.device},
        "models": report.models,
        **{name: value for name, value in timings.items() if value},
    }


class _JobContent:
    """What stands in the folder of a job."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._delivered = delivered_files(delivery)
        self.size = sum(file.size for file in self._delivered)

    def is_in(self, folder: Path) -> bool:
        written = read_result(folder)
        return is_result(written) and written.get("job_id") == self._delivery.job.job_id

    def fill(self, hidden: Path) -> None:
        for file, copy_name in zip(self._delivered, copy_names(self._delivered), strict=True):
            _copy(file, hidden / copy_name)

    def document(self, folder: Path) -> dict[str, Any]:
        return result_document(self._delivery, folder)


def _shown(content: Content, hidden: Path, final: Path) -> bool:
    """Write `result.json` for that name and show the folder; False when somebody took the name meanwhile."""
    text = json.dumps(content.document(final.absolute()), ensure_ascii=False, indent=2)
    (hidden / RESULT).unlink(missing_ok=True)  # it named another folder
    with files.write_new(hidden / RESULT) as result:
        result.write(text.encode("utf-8", "backslashreplace") + b"\n")
        files.flush(result)
    try:
        files.publish_directory(hidden, final)
    except FileExistsError:
        return False
    return True


def read_result(folder: Path) -> dict[str, Any]:
    """What `result.json` in a folder says; nothing, if it is none."""
    try:
        written = json.loads(files.read_regular(folder / RESULT, most=_MOST_RESULT).content)
    except (OSError, ValueError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


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
