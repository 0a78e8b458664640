"""The documented command: `python -m orchestrator_mcp.server [--host …] [--port …] [--config …] …`."""

from __future__ import annotations

import typer

from orchestrator_mcp.cli.options import spell_out_strange_letters
from orchestrator_mcp.cli.running import serve

program = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
program.command()(serve)


def main() -> None:
    """Run it."""
    spell_out_strange_letters()
    program(prog_name="python -m orchestrator_mcp.server")


if __name__ == "__main__":
    main()
