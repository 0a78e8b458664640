"""The commands `orchestrator-mcp workflows show | add | convert`; see `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator_mcp.cli.options import (
    AsJson,
    Config,
    NodesOf,
    ObjectInfo,
    ShownUnlessNamed,
    Token,
    Url,
    end_with,
    server_at,
)

commands = typer.Typer(
    cls=ShownUnlessNamed,
    help="Show the workflows that have a name, or what one of them takes; add one, or convert files.",
    rich_markup_mode="markdown",
)


@commands.command("show")
def show_workflows(
    workflow: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Show the parameters of this one; without it, list all.")
    ] = None,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show the workflows that have a name, or what one of them takes; `show` itself may be left out."""
    from orchestrator_mcp.command import farm

    end_with(lambda: farm.workflows(workflow, server_at(url, config, token), as_json=as_json))


@commands.command("add")
def add_workflow(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A workflow as ComfyUI saves or exports it, a picture that was made with it, or a studio's own file.",
        ),
    ],
    workflow_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="The name to submit it by. Otherwise the file's own, without .json."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a workflow of that name, and what describes it.")
    ] = False,
    object_info: ObjectInfo = None,
    backend: NodesOf = None,
    url: Url = None,
    config: Config = None,
    token: Token = None,
) -> None:
    """Give a workflow a name: copy it into the first workflows folder, and write what it takes beside it, to edit.

    Writes ID.json, a graph in API format, and ID.yaml; a running orchestrator sees them at once. Nothing is replaced
    without --force. What ComfyUI's page saved is converted, see `workflows convert`.
    """
    from orchestrator_mcp.command.adding import add

    where = server_at(url, config, token)
    end_with(lambda: add(file, workflow_id, where, object_info=object_info, backend=backend, force=force))


@commands.command("convert")
def convert_workflows(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Workflows as ComfyUI saves them, or pictures, films and sounds that were made with it.",
        ),
    ],
    object_info: ObjectInfo = None,
    backend: NodesOf = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write DIR/NAME.json for each. Otherwise nothing is written."),
    ] = None,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Turn workflows as ComfyUI saves them, also those inside of pictures, into graphs in API format.

    What the values in such a file mean, only a backend knows: a running orchestrator is asked for its backends' nodes,
    unless --object-info gives them. Exit code 1 says that a file was refused; the reasons stand in the summary.
    """
    from orchestrator_mcp.command.converting import convert

    where = server_at(url, config, token)
    end_with(lambda: convert(files, where, object_info=object_info, backend=backend, out=out, as_json=as_json))
