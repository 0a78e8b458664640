"""The commands that run an orchestrator: `serve`, `stdio` and `demo`; and `mcp-config`, by which agents start one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator_mcp.cli.options import RUN, Config, LogLevel, end_with

commands = typer.Typer()
Client = Literal["claude-desktop", "claude-code", "cursor", "vscode", "codex", "gemini", "opencode"]
Transport = Literal["stdio", "http"]


@commands.command(rich_help_panel=RUN)
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


@commands.command(rich_help_panel=RUN)
def stdio(config: Config = None, log_level: LogLevel = "info") -> None:
    """Speak MCP over standard input and output, for agents that start their servers themselves.

    Joins the orchestrator that runs on this configuration; without one, runs everything itself. Standard output
    carries the protocol and nothing else.
    """
    from orchestrator_mcp.command import serving

    end_with(lambda: serving.serve_stdio(config, log_level))


@commands.command("mcp-config", rich_help_panel=RUN)
def mcp_config(
    client: Annotated[Client, typer.Argument(help="The program in which the agent lives.")],
    write: Annotated[
        bool, typer.Option("--write", help="Merge it into the program's own file; the old one is kept beside it.")
    ] = False,
    transport: Annotated[
        Transport,
        typer.Option(
            "--transport",
            help="stdio: the program starts the orchestrator, or joins one. http: it calls one that runs.",
        ),
    ] = "stdio",
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="PATH", help="The file to change, when it is not where the program has it."),
    ] = None,
    config: Config = None,
) -> None:
    """Tell an agent's program of this orchestrator: print what belongs into its settings, or write it there.

    Names this installation and the configuration in force by their full paths. Never writes a token: where one is
    needed, the program takes it from $ORCHESTRATOR_TOKEN.
    """
    from orchestrator_mcp.command.mcp_config import configure

    end_with(lambda: configure(client, transport, config, write=write, file=file))


@commands.command(rich_help_panel=RUN)
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
