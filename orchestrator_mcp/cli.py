"""The command line: `orchestrator-mcp serve | stdio | demo | submit | rerun | retry | status | cancel | …`.

Options and help stand here. What a command does stands in `orchestrator_mcp.command`, imported only when it is called,
so that `--help` comes at once.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator_mcp import __version__
from orchestrator_mcp.cli_options import (
    AsJson,
    Config,
    Inputs,
    LogLevel,
    Token,
    Url,
    end_with,
    server_at,
)
from orchestrator_mcp.cli_workflows import library

RUN = "Run an orchestrator"
USE = "Use a running one"
LOOK = "Look after it"

program = typer.Typer(
    name="orchestrator-mcp",
    help="Runs ComfyUI work on a farm of machines: one manifest in through any door, verified files out.",
    epilog="Begin with: orchestrator-mcp demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
program.add_typer(library, name="workflows", rich_help_panel=USE)


class State(StrEnum):
    """The states of a job, as an option takes them: Typer takes no list of literals."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"orchestrator-mcp {__version__}")
        raise typer.Exit


@program.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


@program.command(rich_help_panel=RUN)
def serve(
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="Listen on this address. The configured one, else 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="Listen on this port; 0 takes a free one. The configured one, else 9800."
        ),
    ] = None,
    config: Config = None,
    log_level: LogLevel = "info",
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: start anew when the program or the file changes.")
    ] = False,
    insecure_no_auth: Annotated[
        bool,
        typer.Option("--insecure-no-auth", help="Ask nobody for a token, also on an address beyond this machine."),
    ] = False,
) -> None:
    """Run the orchestrator: HTTP, MCP, the Inbox and the scheduler, until Ctrl-C or SIGTERM.

    Host and port win over the configuration. Renders on the backends go on when it stops, and are picked up at the
    next start.
    """
    from orchestrator_mcp.command import serving

    choices = serving.ServeChoices(
        host=host, port=port, config=config, log_level=log_level, insecure_no_auth=insecure_no_auth
    )
    end_with(lambda: serving.serve_and_reload(choices) if reload else serving.serve(choices))


@program.command(rich_help_panel=RUN)
def stdio(config: Config = None, log_level: LogLevel = "info") -> None:
    """Speak MCP over standard input and output, for agents that start their servers themselves.

    Joins the orchestrator that runs on this configuration; without one, runs everything itself. Standard output
    carries the protocol and nothing else.
    """
    from orchestrator_mcp.command import serving

    end_with(lambda: serving.serve_stdio(config, log_level))


@program.command(rich_help_panel=RUN)
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C, to try the addresses.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="PATH",
            help="Where its data, Inbox and Outbox go. Otherwise a new temporary folder; the pictures stay there.",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Listen on this port; 0 takes a free one.")] = 0,
) -> None:
    """Do the main job once, with nothing else installed: a picture through each of the three doors.

    Starts an orchestrator with the built-in sandbox, which draws placeholder pictures, calls it as an agent would
    (MCP), as a program would (HTTP) and as a person would (a file in Inbox), and shows where the results lie in Outbox.
    """
    from orchestrator_mcp.command.demo import run_demo

    end_with(lambda: run_demo(folder, keep=keep, port=port))


@program.command(rich_help_panel=USE)
def submit(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|ID",
            help="A file with a manifest or a workflow, also as ComfyUI saves it; a picture or film that was made with "
            "ComfyUI; - for standard input; or the id of a workflow.",
        ),
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="NAME=VALUE",
            help="Set a parameter, such as prompt='a harbour', steps=20 or 3.seed=7; name=@FILE takes the text of a "
            "file. Again for each.",
        ),
    ] = None,
    inputs: Inputs = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("-m", "--metadata", metavar="KEY=VALUE", help="Put a label on the job. Again for each."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=-100, max=100, help="Higher runs first; 0 is usual.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="ID", help="Run on this backend only, and wait for it.")
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option("--capability", metavar="LABEL", help="The backend must have this label. Again for each."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="TEXT", help="The same key and manifest give the same job."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which backends could render it, and why others not; queue nothing.")
    ] = False,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NAME=VALUES",
            help="Make a batch: a job for each value, such as steps=20,30 or seed='{\"count\": 12}'. Again for each "
            "name: every combination is a job; with mode=zip the first values together, then the second.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show its progress until it has ended.")] = False,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the API answers, unchanged; with --watch, an event a line.")
    ] = False,
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


@program.command(rich_help_panel=USE)
def rerun(
    target: Annotated[
        str,
        typer.Argument(
            metavar="JOB|FILE", help="The id of a job; or a result.json from Outbox, also from another farm's."
        ),
    ],
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-p",
            metavar="NAME=VALUE",
            help="Change a parameter, such as steps=30 or seed=-1; all others stay. Again for each.",
        ),
    ] = None,
    inputs: Inputs = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("-m", "--metadata", metavar="KEY=VALUE", help="Put a label on the new job. Again for each."),
    ] = None,
    priority: Annotated[int | None, typer.Option("--priority", min=-100, max=100, help="Another priority.")] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="ID", help="Run on this backend only, and wait for it.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show its progress until it has ended.")] = False,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the API answers, unchanged; with --watch, an event a line.")
    ] = False,
) -> None:
    """Do a job again, exactly as it was or with changes, and print the new job's id.

    The graph, its seeds and its input files are those of the first render, whatever has become of the workflow. Exit
    codes are those of submit.
    """
    from orchestrator_mcp.command.manifest import Changes

    fields = {"priority": priority, "backend_affinity": backend}
    changes = Changes(parameters=change or (), metadata=metadata or (), inputs=inputs or (), fields=fields)

    def work() -> int:
        from orchestrator_mcp.command import jobs

        return jobs.rerun(target, changes, server_at(url, config, token), watch=watch, as_json=as_json)

    end_with(work)


@program.command(rich_help_panel=USE)
def status(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="The id of a job or batch; without it, the newest jobs.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show its progress until it has ended.")] = False,
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


@program.command(rich_help_panel=USE)
def retry(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="The id of a batch.")],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show its progress until it has ended.")] = False,
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


@program.command(rich_help_panel=USE)
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


@program.command(rich_help_panel=USE)
def backends(url: Url = None, config: Config = None, token: Token = None, as_json: AsJson = False) -> None:
    """Show the farm: each backend, whether it is there, and what it does."""
    from orchestrator_mcp.command import farm

    end_with(lambda: farm.backends(server_at(url, config, token), as_json=as_json))


@program.command(rich_help_panel=LOOK)
def doctor(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    restore: Annotated[
        bool,
        typer.Option(
            "--restore",
            help="Put the newest sound backup in the place of a damaged database, and keep the damaged one aside.",
        ),
    ] = False,
) -> None:
    """Look at everything: configuration, folders, port, database and every backend; say what to mend.

    Changes nothing, unless --restore asks for it. Exit code 1 says that something keeps the orchestrator from doing
    its work, or that nothing could be restored.
    """
    if restore:
        from orchestrator_mcp.command.restore import restore_database

        end_with(lambda: restore_database(config))
    from orchestrator_mcp.command.doctor import examine

    end_with(lambda: examine(config, as_json=as_json))


@program.command(rich_help_panel=LOOK)
def sandbox(
    ports: Annotated[
        str, typer.Option("--ports", metavar="A-B", help="One port or a range; 0 takes a free one.")
    ] = "8188",
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Listen on this address.")] = "127.0.0.1",
    step_ms: Annotated[float, typer.Option("--step-ms", min=0, help="Milliseconds for each sampler step.")] = 5.0,
    load_ms: Annotated[float, typer.Option("--load-ms", min=0, help="Milliseconds to load another model.")] = 0.0,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="FOLDER/NAME", help="A model file that it offers. Again for each."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME[:ARG]", help="A way to misbehave, such as freeze. Again for each."),
    ] = None,
    oracle: Annotated[
        Path | None,
        typer.Option("--oracle", metavar="FILE", help="Note every accepted and ended prompt there, a JSON line each."),
    ] = None,
) -> None:
    """Run ComfyUI-compatible servers without models, to try and test things; they draw placeholder pictures.

    One process serves every port of the range, until Ctrl-C or SIGTERM.
    """

    def work() -> int:
        from orchestrator_mcp.sandbox.command import run

        run(ports, step_ms, load_ms, model, fault, oracle, host)
        return 0

    end_with(work)


def main() -> None:
    """Run the command that the arguments name."""
    program()


if __name__ == "__main__":
    main()
