"""Jobs on their way, shown: bars that move on a terminal, a line for each step elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.reasons import reasons_in_words
from orchestrator_mcp.domain.views import JobView, StreamEvent
from orchestrator_mcp.redaction import escape

_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow"}


class Board(Protocol):
    """Where the events of some jobs are shown."""

    def showing(self) -> AbstractContextManager[object]:
        """Show for the length of the block."""

    def tell(self, label: str, words: str, *, fraction: float | None = None) -> None:
        """Show what is done for a job before it has events, or how far a batch is.

        Args:
            label: what it is called here; the same for all that is said of it.
            words: what is done.
            fraction: how much of it, 0 to 1.
        """

    def show(self, label: str, event: StreamEvent) -> None:
        """Show an event of a job.

        Args:
            label: what the job is called here.
            event: what came.
        """


def board_for(console: Console) -> Board:
    """Bars if somebody watches, else lines.

    Args:
        console: where to.
    """
    return Bars(console) if console.is_terminal else Lines(console)


class Bars:
    """A bar for each job."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            TimeElapsedColumn(),
            console=console,
            expand=True,
        )
        self._bars: dict[str, TaskID] = {}

    def showing(self) -> AbstractContextManager[object]:
        return self._progress

    def tell(self, label: str, words: str, *, fraction: float | None = None) -> None:
        completed = None if fraction is None else fraction * 100
        self._progress.update(self._bar(label), completed=completed, words=escape(words))

    def show(self, label: str, event: StreamEvent) -> None:
        bar = self._bar(label)
        fraction = event.job.progress if event.job else event.progress
        self._progress.update(bar, completed=None if fraction is None else fraction * 100, words=event_words(event))
        if event.type == "end":
            self._progress.stop_task(bar)

    def _bar(self, label: str) -> TaskID:
        if label not in self._bars:
            self._bars[label] = self._progress.add_task(escape(label), total=100, words="")
        return self._bars[label]


class Lines:
    """A line whenever something changes that a reader of a log wants to know."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}

    def showing(self) -> AbstractContextManager[object]:
        return nullcontext()

    def tell(self, label: str, words: str, *, fraction: float | None = None) -> None:
        known = words if fraction is None or fraction == 1 else str(int(fraction * 10))
        if self._said.get(label) != known:  # of a batch, a line for each tenth
            self._said[label] = known
            self._console.print(Text(f"{escape(label)}: {escape(words)}"), soft_wrap=True)

    def show(self, label: str, event: StreamEvent) -> None:
        if event.job is not None:
            self.tell(label, job_words(event.job))
        elif event.progress is not None and (quarters := int(event.progress * 4)):
            self.tell(label, f"rendering, {quarters * 25} % done")


def event_words(event: StreamEvent) -> str:
    """What an event says, in a few words.

    Args:
        event: of a job's stream.
    """
    if event.job is not None:
        return job_words(event.job)
    node = f" node {event.node}" if event.node else ""
    steps = f", step {event.value:g} of {event.max:g}" if event.value is not None and event.max else ""
    return escape(f"rendering{node}{steps}")


def job_words(job: JobView) -> str:
    """What a job does, and why it waits or failed, in one line.

    Args:
        job: as the API shows it.
    """
    reasons = reasons_in_words(job.waiting_because) if job.status == "queued" else ""
    return escape(f"{stand_words(job)} ({reasons})") if reasons else stand_words(job)


def stand_words(job: JobView) -> str:
    """What a job does, and why it failed, in one line; not why it waits.

    Args:
        job: as the API shows it.
    """
    if job.status == "queued":
        words = "queued" + (f", number {job.queue_position}" if job.queue_position else "")
    elif job.status == "running":
        words = f"{job.stage or 'running'}{f' on {job.backend_id}' if job.backend_id else ''}"
    elif job.status == "completed":
        words = f"completed, {_count(len(job.outputs), 'file')}{_seconds(job)}"
    else:
        words = job.status + (f": {job.error.message}" if job.error else "")
    return escape(words)


def batch_words(batch: BatchView) -> str:
    """How far a batch is, in one line.

    Args:
        batch: as the API shows it.
    """
    told = [f"{count} {name}" for name, count in batch.counts.items() if count]
    return f"{batch.status}: {', '.join(told)} of {batch.count}"


def status_text(job: JobView | BatchView) -> Text:
    """The status in its colour.

    Args:
        job: as the API shows it.
    """
    return Text(job.status, style=_COLOURS.get(job.status, "cyan"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _seconds(job: JobView) -> str:
    if job.finished_at is None or job.started_at is None:
        return ""
    return f" in {(job.finished_at - job.started_at).total_seconds():.1f} s"
