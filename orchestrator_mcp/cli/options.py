"""Options that several commands share, and how every command ends."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from orchestrator_mcp.command.api import Where

RUN: Final = "Run an orchestrator"
USE: Final = "Use a running one"
LOOK: Final = "Look after it"

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
ObjectInfo = Annotated[
    Path | None,
    typer.Option("--object-info", metavar="FILE", help="What a ComfyUI answers at /object_info, saved to a file."),
]
NodesOf = Annotated[
    str | None, typer.Option("--backend", metavar="ID", help="Convert by the nodes of this backend. Otherwise of any.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="NAME=FILE",
        help="A picture, video or sound of this machine for a parameter, such as image=face.png. Again for each.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answers, unchanged.")]


class ShownUnlessNamed(TyperGroup):
    """A group whose command `show` may be left out, so that the usual command is the short one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if args and args[0] in known else ["show", *args])


def spell_out_strange_letters() -> None:
    """What a terminal or pipe has no letters for is spelled out as `\\u65e5`, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_with(work: Callable[[], int]) -> NoReturn:
    """Do the work of a command, and leave with its exit code; known errors are told in words."""
    from orchestrator_mcp.command.ending import plain_errors

    with plain_errors():
        code = work()
    raise typer.Exit(code)


def server_at(url: str | None, config: Path | None, token: str | None) -> Where:
    """What the options say about the server to talk to."""
    from orchestrator_mcp.command.api import Where

    return Where(url=url, config=config, token=token)
