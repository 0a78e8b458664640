"""The commands that look after an orchestrator: `doctor`; `sandbox`, to try things with; and `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator_mcp.cli.options import LOOK, Config, end_with

commands = typer.Typer()


@commands.command(rich_help_panel=LOOK)
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


@commands.command(rich_help_panel=LOOK)
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


@commands.command(rich_help_panel=LOOK)
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these, such as gap or accepting.")
    ] = None,
    short: Annotated[
        bool, typer.Option("--short", help="Only see that they work; the figures mean little then.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Leave tables, JSON and pictures there.")
    ] = None,
    docs: Annotated[bool, typer.Option("--docs", help="Write docs/performance.md anew.")] = False,
) -> None:
    """Measure: every benchmark, or those that are named. Works in a checkout; takes long without --short.

    Starts orchestrators and farms of sandbox servers of its own, each on a free port of this machine.
    """
    from orchestrator_mcp.command.bench import bench as run_benchmarks

    end_with(lambda: run_benchmarks(names or [], short=short, out=out, docs=docs))
