"""Views of the API as tables for people."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator_mcp.command.board import batch_words, job_words, stand_words, status_text
from orchestrator_mcp.command.rows import Rows
from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.dry_runs import ProspectView
from orchestrator_mcp.domain.reasons import reasons_in_words
from orchestrator_mcp.domain.views import BackendView, JobView, ParameterView, WorkflowView
from orchestrator_mcp.redaction import escape

_PIPE_WIDTH: Final = 200  # columns where no terminal says how wide it is
_LONGEST_VALUE: Final = 300
_LABEL: Final = 10  # columns of the longest label of a job's details
_MOST_NAMED: Final = 3  # workflows of which a backend's remarks tell
_COMMAND: Final = "orchestrator-mcp backends"
_BACKEND_COLOURS: Final = {"idle": "green", "busy": "cyan", "offline": "red", "suspect": "red"}


def paint(shown: RenderableType) -> None:
    """Print to standard output, wide enough that nothing is cut off where it is no terminal.

    Args:
        shown: a table or text.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    console.print(shown, soft_wrap=isinstance(shown, Text), crop=False)


def job_table(jobs: Sequence[JobView]) -> RenderableType:
    """A row for each job; why several of them wait is said once, beneath.

    Args:
        jobs: newest first.
    """
    if not jobs:
        return Text("There are no jobs. Hand one in with: orchestrator-mcp submit my_workflow_001")
    notes = _shared_reasons(jobs)
    rows = Rows("Job", "Status", "Workflow", "Backend", "Submitted", "Done in", "What it does")
    for job in jobs:
        note = notes.get(reasons_in_words(job.waiting_because)) if job.status == "queued" else None
        words = job_words(job) if note is None else f"{stand_words(job)} [{note}]"
        row = (job.backend_id or "", local_time(job.submitted_at), prospect(job), words)
        rows.add(Text(job.job_id), status_text(job), *map(plain_text, (job.workflow_id, *row)))
    return Group(rows, *(plain_text(f"[{note}] {reasons}") for reasons, note in notes.items()))


def _shared_reasons(jobs: Iterable[JobView]) -> dict[str, int]:
    """Why more than one job waits, each with the number of the note that says so beneath the rows."""
    told = Counter(reasons_in_words(job.waiting_because) for job in jobs if job.status == "queued")
    shared = [reasons for reasons, times in told.items() if reasons and times > 1]
    return {reasons: note for note, reasons in enumerate(shared, 1)}


def job_details(job: JobView) -> RenderableType:
    """Everything a person wants to know of a job.

    Args:
        job: as the API shows it.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim", min_width=_LABEL)
    table.add_column(overflow="fold")
    table.add_row("Job", Text(job.job_id))
    table.add_row("Status", status_text(job))
    for name, value in _details(job):
        table.add_row(name, plain_text(value))
    return Group(table, *_outputs(job))


def _outputs(job: JobView) -> Iterable[Text]:
    """A line for each file, in one piece however long: people copy the paths."""
    for output in job.outputs:
        path = escape(output.path or output.url)
        shown = (f"{'Output':<{_LABEL + 2}}", "dim"), path, f"  ({output.media_type}, {size_text(output.size)})"
        yield Text.assemble(*shown, no_wrap=True, overflow="ignore")


def batch_details(batch: BatchView) -> RenderableType:
    """Where a batch stands.

    Args:
        batch: as the API shows it.
    """
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("Batch", Text(batch.batch_id))
    table.add_row("Status", status_text(batch))
    table.add_row("Jobs", plain_text(batch_words(batch).partition(": ")[2]))
    table.add_row("Varies", plain_text(f"{', '.join(batch.varies)} ({batch.mode})"))
    table.add_row("Workflow", plain_text(batch.workflow_id))
    table.add_row("Submitted", local_time(batch.submitted_at))
    if expected := prospect(batch):
        table.add_row("Done in", expected)
    if batch.finished_at:
        table.add_row("Finished", local_time(batch.finished_at))
    table.add_row("Outbox" if batch.path else "Contact sheet", plain_text(batch.path or batch.links["contact_sheet"]))
    if batch.counts["failed"] or batch.counts["cancelled"]:
        table.add_row("Again", plain_text(f"orchestrator-mcp retry {batch.batch_id}"))
    for warning in batch.warnings:
        table.add_row("Note", plain_text(warning))
    return table


def backend_table(backends: Sequence[BackendView]) -> RenderableType:
    """A row for each backend.

    Args:
        backends: as the API lists them.
    """
    if not backends:
        return Text("No backends are configured.")
    rows = Rows("Backend", "Status", "Address", "Jobs", "ComfyUI", "Capabilities", "Remarks")
    for one in backends:
        status = Text(one.status, style=_BACKEND_COLOURS.get(one.status, "yellow"))
        jobs = f"{one.running} of {one.slots}" + (f", {one.foreign} of others" if one.foreign else "")
        name = one.id if one.name in {"", one.id} else f"{one.id} ({one.name})"
        address = f"{one.host}:{one.port}"
        rest = (address, jobs, one.comfyui_version or "", ", ".join(one.capabilities), "; ".join(_remarks(one)))
        rows.add(plain_text(name), status, *map(plain_text, rest))
    if not any(one.blocked for one in backends):
        return rows
    return Group(rows, Text(f"Why work avoids a backend: {_COMMAND} ID. To send it there again: {_COMMAND} unblock ID"))


def _remarks(one: BackendView) -> Iterable[str]:
    if one.reason or one.kind == "sandbox":
        yield one.reason or "draws placeholder pictures"
    if one.blocked:
        names = list(dict.fromkeys(block.workflow_id for block in one.blocked))
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        last = local_time(max(block.until for block in one.blocked))
        yield f"jobs like {', '.join(names[:_MOST_NAMED])}{more} avoid it until {last}, for they failed there"


def backend_details(backend: BackendView) -> RenderableType:
    """Everything about one backend, below each other.

    Args:
        backend: as the API shows it.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_row(plain_text(backend.id), Text(backend.status, style=_BACKEND_COLOURS.get(backend.status, "yellow")))
    for label, text in _backend_details(backend):
        table.add_row(label, plain_text(text))
    return table


def _backend_details(one: BackendView) -> Iterable[tuple[str, str]]:
    if one.reason:
        yield "Why", one.reason
    yield "Name", one.name
    yield "Address", f"{one.host}:{one.port}"
    yield "Jobs", f"{one.running} of {one.slots}" + (f", {one.foreign} of others" if one.foreign else "")
    if one.kind == "sandbox":
        yield "Kind", "sandbox: draws placeholder pictures"
    if one.comfyui_version:
        yield "ComfyUI", one.comfyui_version
    for device in one.devices:
        yield "Device", device_text(device)
    if one.warm:
        yield "Loaded", one.warm
    if one.available:
        yield "Open", one.available + (f" (opens {local_time(one.opens_at)})" if one.opens_at else "")
    for block in one.blocked:
        times = "once" if block.failures == 1 else f"{block.failures} times in a row"
        kind = f"jobs like {block.workflow_id} until {local_time(block.until)}, for they failed {times}: {block.reason}"
        yield "Blocked", f"{kind} (signature {block.signature})"
    if one.blocked:
        yield "Unblock", f"{_COMMAND} unblock {one.id}"
    if one.capabilities:
        yield "Capabilities", ", ".join(one.capabilities)
    if one.last_seen:
        yield "Last seen", local_time(one.last_seen)


def prospect_table(prospects: Sequence[ProspectView]) -> RenderableType:
    """Which backends could render a job, and why the others cannot."""
    if not prospects:
        return Text("No backend may run it.")
    rows = Rows("Backend", "Can run it", "Why not")
    for one in prospects:
        verdict = {True: "yes", False: "no", None: "unknown"}[one.can_run]
        rows.add(plain_text(one.backend_id), Text(verdict), plain_text("; ".join(one.reasons)))
    return rows


def workflow_table(workflows: Sequence[WorkflowView]) -> RenderableType:
    """A row for each workflow.

    Args:
        workflows: as the API lists them.
    """
    if not workflows:
        return Text("There are no workflows. Put workflow files into workflows_dir, as <id>.json.")
    rows = Rows("Workflow", "Parameters", "Remarks")
    for one in workflows:
        names = ", ".join(parameter.name for parameter in one.parameters)
        rows.add(plain_text(one.id), plain_text(names), Text(escape(one.problem or ""), style="red"))
    return rows


def workflow_details(workflow: WorkflowView) -> RenderableType:
    """The parameters of a workflow.

    Args:
        workflow: as the API shows it.
    """
    if workflow.problem:
        return Text(f"{workflow.id} cannot be used: {escape(workflow.problem)}", style="red")
    title = plain_text(f"{workflow.id}: {workflow.title}" if workflow.title else workflow.id)
    rows = Rows("Parameter", "Type", "Takes", "Default", "Sets", title=title)
    for one in workflow.parameters:
        sets = ", ".join(one.targets)
        rows.add(*map(plain_text, (one.name, one.type, _taken(one), _value(one.default), sets)))
    return rows


def _taken(parameter: ParameterView) -> str:
    """The range or choices of a parameter, and whether it has to be given."""
    low, high = parameter.minimum, parameter.maximum
    ends = (f"from {low}" if low is not None else "", f"to {high}" if high is not None else "")
    words = [_value(", ".join(map(str, parameter.choices))), *ends, "required" if parameter.required else ""]
    return " ".join(word for word in words if word)


def prospect(view: JobView | BatchView) -> str:
    """How long a job or batch takes from now on, and whether that is too late; empty where nothing is known of it.

    Args:
        view: as the API shows it.
    """
    if view.eta_seconds is None or view.status not in {"queued", "running"}:
        return ""
    seconds = math.ceil(view.eta_seconds)
    hours, minutes = divmod(seconds // 60, 60)
    words = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
    return f"{words}, too late" if view.late else words


def local_time(moment: datetime) -> str:
    """A time as this machine's clock shows it.

    Args:
        moment: aware.
    """
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size_text(size: int) -> str:
    """A size as people say it.

    Args:
        size: in bytes.
    """
    for factor, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def device_text(device: Mapping[str, object]) -> str:
    """A device as people say it: its name, and its memory.

    Args:
        device: as ComfyUI describes it.
    """
    name, memory = str(device.get("name") or "unnamed device"), device.get("vram_total")
    return f"{name} ({size_text(memory)})" if isinstance(memory, int) and memory > 0 else name


def _details(job: JobView) -> Iterable[tuple[str, str]]:
    yield "Workflow", job.workflow_id
    if job.status in {"queued", "running"}:
        yield "Now", job_words(job) + (f", {job.progress * 100:.0f} % done" if job.progress else "")
    if expected := prospect(job):
        yield "Done in", expected
    yield "Submitted", local_time(job.submitted_at)
    if job.finished_at:
        yield "Finished", local_time(job.finished_at)
    if job.backend_id:
        yield "Backend", f"{job.backend_id}{' (sandbox: placeholder pictures)' if job.sandbox else ''}"
    for name, values in (("Parameters", job.parameters), ("Metadata", job.metadata), ("Seeds", job.seeds)):
        if values:
            yield name, "\n".join(f"{key} = {_value(value)}" for key, value in values.items())
    if len(job.attempts) > 1:
        yield "Attempts", "\n".join(f"{a.number} on {a.backend_id}: {a.outcome or 'running'}" for a in job.attempts)
    if job.error:
        yield "Error", job.error.message + (f"\n{job.error.hint}" if job.error.hint else "")
    if job.attention:
        yield "Attention", "The outcome is in doubt; a person should look."
    for warning in job.warnings:
        yield "Note", warning


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def plain_text(text: str) -> Text:
    """Text for a terminal: no markup, and nothing that steers it.

    Args:
        text: from anywhere; may have several lines.
    """
    return Text("\n".join(escape(line) for line in text.split("\n")))
