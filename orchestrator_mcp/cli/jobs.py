"""The commands about jobs and batches: `submit`, `rerun`, `status`, `retry` and `cancel`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from orchestrator_mcp.cli.options import USE, AsJson, Config, Inputs, Token, Url, end_with, server_at

commands = typer.Typer()
Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE|ID",
        help="A file with a manifest or a workflow, also as ComfyUI saves it; a picture or film that was made with "
        "ComfyUI; - for standard input; or the id of a workflow.",
    ),
]
Earlier = Annotated[
    str,
    typer.Argument(metavar="JOB|FILE", help="The id of a job; or a result.json from Outbox, also from another farm's."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        help="Set a parameter, such as prompt='a harbour', steps=20 or 3.seed=7; name=@FILE takes the text of a "
        "file. Again for each.",
    ),
]
Changed = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-p",
        metavar="NAME=VALUE",
        help="Change a parameter, such as steps=30 or seed=-1; all others stay. Again for each.",
    ),
]
Variations = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="NAME=VALUES",
        help="Make a batch: a job for each value, such as steps=20,30 or seed='{\"count\": 12}'. Again for each "
        "name: every combination is a job; with mode=zip the first values together, then the second.",
    ),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option("-m", "--metadata", metavar="KEY=VALUE", help="Put a label on the job. Again for each."),
]
Priority = Annotated[int | None, typer.Option("--priority", min=-100, max=100, help="Higher runs first; 0 is usual.")]
Deadline = Annotated[
    str | None,
    typer.Option(
        "--deadline", metavar="TIME", help="When it is to be done, with its zone: 2026-03-01T18:00:00Z or …+01:00."
    ),
]
OnBackend = Annotated[
    str | None, typer.Option("--backend", metavar="ID", help="Run on this backend only, and wait for it.")
]
Capabilities = Annotated[
    list[str] | None,
    typer.Option("--capability", metavar="LABEL", help="The backend must have this label. Again for each."),
]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="TEXT", help="The same key and manifest give the same job."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say which backends could render it, and why others not; queue nothing.")
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show its progress until it has ended.")]
AsEvents = Annotated[
    bool, typer.Option("--json", help="Print what the API answers, unchanged; with --watch, an event a line.")
]


class State(StrEnum):
    """The states of a job, as an option takes them: Typer takes no list of literals."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@commands.command(rich_help_panel=USE)
def submit(
    target: Source,
    parameter: Parameters = None,
    inputs: Inputs = None,
    metadata: Metadata = None,
    priority: Priority = None,
    deadline: Deadline = None,
    backend: OnBackend = None,
    capability: Capabilities = None,
    idempotency_key: Key = None,
    dry_run: DryRun = False,
    vary: Variations = None,
    watch: Watch = False,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsEvents = False,
) -> None:
    """Hand in a job or a batch, and print its id.

    Values are numbers, true, false, null, lists or objects where they read as such in JSON, else text. Exit code 0:
    accepted (with --watch: completed); 1: refused, failed or cancelled; 2: the command line or file is wrong; 3: no
    orchestrator answers.
    """
    from orchestrator_mcp.command.manifest import Changes

    given = Changes(
        parameters=parameter or (),
        metadata=metadata or (),
        inputs=inputs or (),
        fields={
            "priority": priority,
            "deadline": deadline,
            "backend_affinity": backend,
            "required_capabilities": capability,
            "idempotency_key": idempotency_key,
        },
    )

    def work() -> int:
        from orchestrator_mcp.command import jobs, trying_out
        from orchestrator_mcp.command.batches import read_variations

        changes = replace(given, fields={**given.fields, "batch": read_variations(vary or ())})
        if dry_run:
            return trying_out.try_out(target, changes, server_at(url, config, token), as_json=as_json)
        return jobs.submit(target, changes, server_at(url, config, token), watch=watch, as_json=as_json)

    end_with(work)


@commands.command(rich_help_panel=USE)
def rerun(
    target: Earlier,
    change: Changed = None,
    inputs: Inputs = None,
    metadata: Metadata = None,
    priority: Priority = None,
    deadline: Deadline = None,
    backend: OnBackend = None,
    watch: Watch = False,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsEvents = False,
) -> None:
    """Do a job again, exactly as it was or with changes, and print the new job's id.

    The graph, its seeds and its input files are those of the first render, whatever has become of the workflow. Exit
    codes are those of submit.
    """
    from orchestrator_mcp.command.manifest import Changes

    fields = {"priority": priority, "deadline": deadline, "backend_affinity": backend}
    changes = Changes(parameters=change or (), metadata=metadata or (), inputs=inputs or (), fields=fields)

    def work() -> int:
        from orchestrator_mcp.command import jobs

        return jobs.rerun(target, changes, server_at(url, config, token), watch=watch, as_json=as_json)

    end_with(work)


@commands.command(rich_help_panel=USE)
def status(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="The id of a job or batch; without it, the newest jobs.")
    ] = None,
    watch: Watch = False,
    state: Annotated[
        list[State] | None,
        typer.Option("--state", help="Of the newest, only jobs in this state. Again for each."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many of the newest.")] = 20,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show a job or batch, or a table of the newest jobs.

    Exit code 1 says that the job failed or was cancelled; of a batch, that any of its jobs did.
    """
    from orchestrator_mcp.command import jobs

    where = server_at(url, config, token)
    end_with(lambda: jobs.status(job, where, watch=watch, states=tuple(state or ()), limit=limit, as_json=as_json))


@commands.command(rich_help_panel=USE)
def retry(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="The id of a batch.")],
    watch: Watch = False,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Do those jobs of a batch again that failed or were cancelled, with the same values and seeds.

    The new ones count in place of the old. Exit code 1: there is nothing to do again.
    """
    from orchestrator_mcp.command import batches

    end_with(lambda: batches.retry(batch, server_at(url, config, token), watch=watch, as_json=as_json))


@commands.command(rich_help_panel=USE)
def cancel(
    job: Annotated[list[str], typer.Argument(metavar="JOB...", help="The ids of jobs or batches.")],
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Cancel jobs that wait or run, and all that are left of batches.

    Exit code 1 says that one of them could not be cancelled.
    """
    from orchestrator_mcp.command import jobs

    end_with(lambda: jobs.cancel(job, server_at(url, config, token), as_json=as_json))
