"""The command line: `orchestrator-mcp serve | stdio | demo | submit | status | cancel | …`.

Options and help stand here. What a command does stands in `orchestrator_mcp.command`, imported only when it is called,
so that `--help` comes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from orchestrator_mcp import __version__

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

Level = Literal["debug", "info", "warning", "error"]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="The configuration. Otherwise $ORCHESTRATOR_CONFIG, ./config.yaml, or config.yaml in your own "
        "configuration folder; without any, the defaults.",
    ),
]
LogLevel = Annotated[Level, typer.Option("--log-level", help="How much is logged.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="ORCHESTRATOR_URL",
        help="The orchestrator to talk to. Otherwise the one that runs on this configuration.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TEXT",
        envvar="ORCHESTRATOR_TOKEN",
        help="The token that it asks for. Otherwise read from the token file of the one that runs here. In the "
        "environment it is not seen in the list of processes.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answers, unchanged.")]


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


def _end_with(work: Callable[[], int]) -> NoReturn:
    from orchestrator_mcp.command.ending import plain_errors

    with plain_errors():
        code = work()
    raise typer.Exit(code)


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
    _end_with(lambda: serving.serve_and_reload(choices) if reload else serving.serve(choices))


@program.command(rich_help_panel=RUN)
def stdio(config: Config = None, log_level: LogLevel = "info") -> None:
    """Speak MCP over standard input and output, for agents that start their servers themselves.

    Joins the orchestrator that runs on this configuration; without one, runs everything itself. Standard output
    carries the protocol and nothing else.
    """
    from orchestrator_mcp.command import serving

    _end_with(lambda: serving.serve_stdio(config, log_level))


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

    _end_with(lambda: run_demo(folder, keep=keep, port=port))


def main() -> None:
    """Run the command that the arguments name."""
    program()


if __name__ == "__main__":
    main()
