"""The command line: `orchestrator-mcp serve | stdio | demo | submit | rerun | retry | status | cancel | …`.

Only options and help stand here, a module for each group of commands, so that `--help` comes at once. What a command
does stands in `orchestrator_mcp.command`, and is imported when it is called.
"""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator_mcp import __version__
from orchestrator_mcp.cli import backends, jobs, looking_after, running, workflows
from orchestrator_mcp.cli.options import USE, spell_out_strange_letters

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
for group in (running, jobs, looking_after):
    program.add_typer(group.commands)
program.add_typer(backends.commands, name="backends", rich_help_panel=USE)
program.add_typer(workflows.commands, name="workflows", rich_help_panel=USE)


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


def main() -> None:
    """Run the command that the arguments name."""
    spell_out_strange_letters()
    program()
