"""The command `orchestrator-mcp backends`."""

from __future__ import annotations

import typer

from orchestrator_mcp.cli.options import USE, AsJson, Config, Token, Url, end_with, server_at

commands = typer.Typer()


@commands.command(rich_help_panel=USE)
def backends(url: Url = None, config: Config = None, token: Token = None, as_json: AsJson = False) -> None:
    """Show the farm: each backend, whether it is there, and what it does."""
    from orchestrator_mcp.command import farm

    end_with(lambda: farm.backends(server_at(url, config, token), as_json=as_json))
