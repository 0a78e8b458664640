"""What a job looks like: its picture, a sheet of many pictures or many jobs, or the newest frame of its render."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar, cast

from anyio import CapacityLimiter, to_thread

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.backends.messages import PreviewReceived
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.domain.jobs import Artifact, Job, JobState
from orchestrator_mcp.domain.text import plain, told
from orchestrator_mcp.errors import ManifestError, NoPreviewError, NotFoundError, TooManyError
from orchestrator_mcp.previews.contact_sheet import SheetEntry, State, contact_sheet
from orchestrator_mcp.previews.pictures import Picture, as_file
from orchestrator_mcp.previews.poster import Subject, facts_of, poster, spelled_size, still
from orchestrator_mcp.previews.scaled import LONGEST, MEDIA_TYPES, measured, scaled
from orchestrator_mcp.service.captions import captions
from orchestrator_mcp.service.showing import output_views
from orchestrator_mcp.store import JobStore, StoredBatch, StoredJob

SHORTEST_SIDE: Final = 64
LONGEST_SIDE: Final = 2048
SHEET_SIDE: Final = 1536  # pixels of a sheet's longer side, unless asked otherwise
SHEET_BYTES: Final = 400_000  # of a sheet for a model
LARGEST_CELL: Final = 512
MOST_JOBS: Final = 100  # in one call
MOST_CELLS: Final = 60  # of a sheet for a model: more could not be told apart
AT_ONCE: Final = 2
MOST_WAITING: Final = 32
_WAIT: Final = "Wait with job_status and wait_seconds, then look again."

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class JobPreview:
    """Something to look at.

    Attributes:
        picture: an image file.
        text: what it shows, and where the originals are, in words.
        settled: whether it will look the same another time.
    """

    picture: Picture
    text: str
    settled: bool


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """A place on a sheet, and what the text says of it."""

    entry: SheetEntry
    words: str


@dataclass(kw_only=True, eq=False)
class Previewing:
    """Makes previews, two at once.

    Attributes:
        store: where jobs live.
        pool: the backends, which keep the newest frame of each render.
        artifacts: the output files.
    """

    store: JobStore
    pool: BackendPool
    artifacts: ArtifactStore
    _threads: CapacityLimiter = field(default_factory=partial(CapacityLimiter, AT_ONCE))

    async def preview(
        self, job_ids: Sequence[str], *, name: str | None, longest: int | None, base_url: str
    ) -> JobPreview:
        """Look at one job, at one of its outputs, or at several jobs or a batch side by side.

        Args:
            job_ids: one, or up to 100; or the id of one batch.
            name: one output of one job.
            longest: pixels of the longer side, 64 to 2,048; 768 for a picture and 1,536 for a sheet when None.
            base_url: what urls in the text begin with.

        Raises:
            NotFoundError: no such job or output.
            NoPreviewError: there is nothing to look at yet, or it cannot be shown.
            ManifestError: an argument is out of its range.
            TooManyError: many previews are being made already.
        """
        _check(job_ids, name, longest)
        if len(job_ids) == 1 and (batch := await self._batch(job_ids[0])) is not None:
            return await self._sheet_of_batch(batch, name, longest)
        stored = [await self.store.job(job_id) for job_id in dict.fromkeys(job_ids)]
        if len(stored) > 1:
            return await self.sheet_of_jobs(stored, longest=longest)
        job = stored[0].job
        if name is not None:
            return await self._output(job, _named(job, name), longest, base_url)
        if job.state is JobState.RUNNING:
            return await self._running(job, longest)
        if not job.outputs:
            raise _nothing(job)
        if len(job.outputs) > 1:
            return await self._sheet_of_outputs(job, longest)
        return await self._output(job, job.outputs[0], longest, base_url)

    async def _batch(self, some_id: str) -> StoredBatch | None:
        try:
            return await self.store.batches.batch(some_id)
        except NotFoundError:
            return None

    async def _sheet_of_batch(self, batch: StoredBatch, name: str | None, longest: int | None) -> JobPreview:
        if name is not None:
            raise _name_of_several()
        jobs = await self.store.batches.first_jobs(batch.row, MOST_CELLS)
        title = f"{told(batch.workflow_id, limit=80)}: {batch.total} jobs"
        seen = await self.sheet_of_jobs(jobs, longest=longest, title=title, total=batch.total)
        return replace(seen, settled=batch.over)

    async def sheet_of_jobs(
        self,
        stored: Sequence[StoredJob],
        *,
        longest: int | None = None,
        title: str | None = None,
        most: int = MOST_CELLS,
        most_bytes: int | None = SHEET_BYTES,
        total: int | None = None,
    ) -> JobPreview:
        """Jobs side by side, each with what tells it from the others; such as have no picture with the reason.

        Args:
            stored: the jobs in the order in which they are shown; at least one.
            longest: see `preview`.
            title: what they have in common; found out when None.
            most: how many cells are drawn, at most 400.
            most_bytes: of the sheet, a JPEG; None makes a PNG of any size.
            total: how many jobs there are in all, where only some are given.

        Raises:
            NoPreviewError: none of them has a picture yet.
        """
        jobs = [one.job for one in stored]
        frames = [self._frame(job) for job in jobs]
        if not any(
            frame is not None or job.outputs or job.state.final for job, frame in zip(jobs, frames, strict=True)
        ):
            raise _nothing_of(jobs)
        told_apart = captions(jobs)
        missing = max(0, (total or 0) - len(jobs))

        def draw() -> tuple[Picture, str]:
            shown = zip(jobs, told_apart, frames, strict=True)
            cells = [cell for job, caption, frame in shown for cell in self._cells(job, caption, frame)]
            picture = contact_sheet(
                [cell.entry for cell in cells[:most]],
                title=title or _title(jobs, total or len(jobs)),
                cell=LARGEST_CELL,
                longest=longest or SHEET_SIDE,
                most=most,
                most_bytes=most_bytes,
                total=len(cells) + missing,
            )
            return picture, _told(cells[:most], picture, jobs)

        picture, text = await self._in_thread(draw)
        return JobPreview(picture=picture, text=text, settled=all(job.state.final for job in jobs))

    async def _sheet_of_outputs(self, job: Job, longest: int | None) -> JobPreview:
        shown = job.outputs[:MOST_CELLS]

        def draw() -> tuple[Picture, str]:
            cells = [_Cell(entry=self._entry(artifact, artifact.name), words=_one(artifact)) for artifact in shown]
            picture = contact_sheet(
                [cell.entry for cell in cells],
                title=f"{job.workflow_id} {job.job8}: {len(job.outputs)} files",
                cell=LARGEST_CELL,
                longest=longest or SHEET_SIDE,
                most_bytes=SHEET_BYTES,
                total=len(job.outputs),
            )
            return picture, _told(cells, picture, [job])

        picture, text = await self._in_thread(draw)
        return JobPreview(picture=picture, text=text, settled=True)

    async def _output(self, job: Job, artifact: Artifact, longest: int | None, base_url: str) -> JobPreview:
        views = {view.name: view for view in output_views(job, base_url)}
        original = f"The original: {views[artifact.name].path or views[artifact.name].url}"
        try:
            picture, facts = await self._in_thread(partial(self._drawn, artifact, longest or LONGEST))
        except NoPreviewError as error:
            raise NoPreviewError(f"{plain(artifact.name)}: {error.message}", hint=plain(original)) from error
        parts = [
            f"{artifact.name} of job {job.job_id} ({facts}), shown at {picture.width} x {picture.height}.",
            _sentence(picture.note),
            original,
            _slates([job]),
        ]
        return JobPreview(picture=picture, text=plain(" ".join(part for part in parts if part)), settled=True)

    def _drawn(self, artifact: Artifact, longest: int) -> tuple[Picture, str]:
        path, subject = self.artifacts.path_of(artifact.sha256), _subject(artifact)
        if artifact.media_type not in MEDIA_TYPES:
            return poster(path, subject, longest=longest), facts_of(path, subject)
        width, height = measured(path)
        facts = f"{artifact.media_type}, {width} x {height}, {spelled_size(artifact.size)}"
        return scaled(path, longest=longest), facts

    async def _running(self, job: Job, longest: int | None) -> JobPreview:
        frame = self._frame(job)
        if frame is None:
            raise NoPreviewError(
                f"The job {job.job_id} runs, and its backend has sent no picture of it yet.",
                hint="Some backends send none before the end (ComfyUI does with --preview-method auto). "
                "Wait with job_status, or try again in some seconds.",
            )
        picture = await self._in_thread(partial(scaled, io.BytesIO(frame.image), longest=longest or LONGEST))
        text = (
            f"Job {job.job_id} is still running on {job.backend_id}: the newest picture of the render under way, "
            f"not its result. {_slates([job])}"
        )
        return JobPreview(picture=picture, text=plain(text), settled=False)

    def _frame(self, job: Job) -> PreviewReceived | None:
        if job.state is not JobState.RUNNING or not job.attempts:
            return None
        attempt = job.attempts[-1]
        known = attempt.backend_id in self.pool
        return self.pool[attempt.backend_id].preview(attempt.prompt_id) if known else None

    def _cells(self, job: Job, caption: str, frame: PreviewReceived | None) -> list[_Cell]:
        status = cast(State, job.state.status)
        words = f"{job.job_id} {status}: {caption}"
        if job.outputs:
            many = len(job.outputs) > 1
            return [
                _Cell(
                    entry=self._entry(artifact, f"{caption} ({number} of {len(job.outputs)})" if many else caption),
                    words=f"{words}: {_one(artifact)}",
                )
                for number, artifact in enumerate(job.outputs, start=1)
            ]
        picture = io.BytesIO(frame.image) if frame is not None else None
        reason = "" if frame is not None else _reason(job)
        entry = SheetEntry(picture=picture, caption=caption, state=status, reason=reason)
        return [_Cell(entry=entry, words=f"{words}. {reason}" if reason else words)]

    def _entry(self, artifact: Artifact, caption: str) -> SheetEntry:
        path = self.artifacts.path_of(artifact.sha256)
        if artifact.media_type in MEDIA_TYPES:
            return SheetEntry(picture=path, caption=caption)
        if artifact.kind == "video" and (frame := still(path, artifact.media_type, LARGEST_CELL)) is not None:
            return SheetEntry(picture=as_file(frame), caption=caption)
        return SheetEntry(caption=caption, kind=artifact.kind, reason=facts_of(path, _subject(artifact)))

    async def _in_thread(self, deed: Callable[[], _Result]) -> _Result:
        if self._threads.statistics().tasks_waiting >= MOST_WAITING:
            raise TooManyError("Many previews are being made already.", retry_after=5.0)
        return await to_thread.run_sync(deed, limiter=self._threads)


def _check(job_ids: Sequence[str], name: str | None, longest: int | None) -> None:
    if not 1 <= len(job_ids) <= MOST_JOBS:
        raise ManifestError.at("job_id", message=f"found {len(job_ids)} ids; 1 to {MOST_JOBS} are taken")
    if name is not None and len(job_ids) > 1:
        raise _name_of_several()
    if longest is not None and not SHORTEST_SIDE <= longest <= LONGEST_SIDE:
        message = f"found {longest}; a whole number from {SHORTEST_SIDE} to {LONGEST_SIDE} is needed"
        raise ManifestError.at("longest", message=message)


def _name_of_several() -> ManifestError:
    return ManifestError.at("name", message="a name belongs to one job; give one job_id with it")


def _named(job: Job, name: str) -> Artifact:
    by_name = {artifact.name: artifact for artifact in job.outputs}
    if not by_name:
        raise _nothing(job)
    if name not in by_name:
        raise NotFoundError("output", name, known=by_name)
    return by_name[name]


def _nothing(job: Job) -> NoPreviewError:
    """Why a job has no picture."""
    match job.state:
        case JobState.FAILED:
            why = told(job.failure.message) if job.failure else "no reason is known"
            return NoPreviewError(f"The job {job.job_id} failed: {why}", hint=job.failure.hint if job.failure else None)
        case JobState.CANCELLED:
            return NoPreviewError(f"The job {job.job_id} was cancelled.", hint="Submit it again for a picture.")
        case JobState.COMPLETED:
            return NoPreviewError(f"The job {job.job_id} completed without files.")
        case JobState.RUNNING:
            return NoPreviewError(f"The job {job.job_id} still runs and has no files yet.", hint=_WAIT)
        case _:
            return NoPreviewError(f"The job {job.job_id} waits in the queue.", hint="job_status says what for.")


def _nothing_of(jobs: Sequence[Job]) -> NoPreviewError:
    """Why there is no sheet: one without a picture would say less, and cost a model more."""
    states = Counter(job.state.status for job in jobs)
    told = ", ".join(f"{count} {status}" for status, count in states.items())
    return NoPreviewError(f"None of these {len(jobs)} jobs has a picture yet: {told}.", hint=_WAIT)


def _reason(job: Job) -> str:
    """The same for a cell, which has its caption and its flag."""
    match job.state:
        case JobState.FAILED:
            return told(job.failure.message) if job.failure else ""
        case JobState.COMPLETED:
            return "It made no files."
        case JobState.RUNNING:
            return "No picture yet."
        case _:
            return ""


def _subject(artifact: Artifact) -> Subject:
    return Subject(name=artifact.name, kind=artifact.kind, media_type=artifact.media_type, size=artifact.size)


def _one(artifact: Artifact) -> str:
    return f"{artifact.name} ({artifact.media_type}, {spelled_size(artifact.size)})"


def _title(jobs: Sequence[Job], count: int) -> str:
    workflows = list(dict.fromkeys(job.workflow_id for job in jobs))
    return f"{workflows[0]}: {count} jobs" if len(workflows) == 1 else f"{count} jobs"


def _told(cells: Sequence[_Cell], picture: Picture, jobs: Sequence[Job]) -> str:
    said = (plain(" ".join(cell.words.split()), limit=200) for cell in cells)
    lines = [f"{number}. {words}" for number, words in enumerate(said, start=1)]
    more = f" ({picture.note})" if picture.note else ""
    head = f"A contact sheet{more}, row by row. Give one job_id and name to see one larger."
    return "\n".join(part for part in (head, *lines, _slates(jobs)) if part)


def _slates(jobs: Sequence[Job]) -> str:
    return "A test slate of the built-in sandbox, not a diffusion render." if any(job.sandbox for job in jobs) else ""


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:].rstrip('.')}." if note else ""
