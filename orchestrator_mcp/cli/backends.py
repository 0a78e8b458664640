"""The commands `orchestrator-mcp backends [show] | drain | pause | … | discover | add | remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from orchestrator_mcp.cli.options import AsJson, Config, ShownUnlessNamed, Token, Url, end_with, server_at

if TYPE_CHECKING:
    from orchestrator_mcp.command.api import Where

commands = typer.Typer(
    cls=ShownUnlessNamed,
    help="Show the farm: each backend, whether it is there, and what it does; find, add and remove backends.",
    rich_markup_mode="markdown",
)
FARM = "Change the farm (config.yaml)"
WORK = "Change what a backend does (no restart; kept until it is changed again)"

Which = Annotated[str, typer.Argument(metavar="ID", help="The id of a backend.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; shown with the backend.")]


@commands.command("show")
def show(
    backend: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Show this one in full; without it, list all.")
    ] = None,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show the farm: each backend, whether it is there, and what it does; `show` itself may be left out."""
    from orchestrator_mcp.command import farm

    end_with(lambda: farm.backends(backend, server_at(url, config, token), as_json=as_json))


def _act(action: str, backend: str, note: str, where: Where, *, as_json: bool) -> NoReturn:
    from orchestrator_mcp.command import farm

    end_with(lambda: farm.operate(action, backend, note, where, as_json=as_json))


def _holds(action: str, words: str) -> None:
    """Add the command of a wish that holds until another one ends it."""

    @commands.command(action, help=words, rich_help_panel=WORK)
    def wish(
        backend: Which,
        note: Note = "",
        url: Url = None,
        config: Config = None,
        token: Token = None,
        as_json: AsJson = False,
    ) -> None:
        _act(action, backend, note, server_at(url, config, token), as_json=as_json)


def _ends(action: str, words: str) -> None:
    """Add the command that ends such wishes."""

    @commands.command(action, help=words, rich_help_panel=WORK)
    def wish(
        backend: Which, url: Url = None, config: Config = None, token: Token = None, as_json: AsJson = False
    ) -> None:
        _act(action, backend, "", server_at(url, config, token), as_json=as_json)


_holds("drain", "Give a backend nothing new, and take back what stands by there; what renders goes on. Until `resume`.")
_holds("pause", "Give a backend nothing new; all that it has goes on. Until `resume`.")
_ends("resume", "Give a backend work again that was drained or paused.")
_holds(
    "disable",
    "Take a backend out of the farm: it ends what renders there, and is not even looked at then. Until `enable`.",
)
_ends("enable", "Take a backend back into the farm that was disabled.")


@commands.command("unblock", rich_help_panel=WORK)
def unblock(
    backend: Which,
    signature: Annotated[
        str | None,
        typer.Option("--signature", metavar="TEXT", help="Only this kind of work, as `backends ID` names it."),
    ] = None,
    url: Url = None,
    config: Config = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Forget what failed on a backend, so that no kind of work avoids it any more."""
    from orchestrator_mcp.command import farm

    end_with(lambda: farm.unblock(backend, signature, server_at(url, config, token), as_json=as_json))


@commands.command("discover", rich_help_panel=FARM)
def discover(
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help="Where to look, such as 192.168.1.0/24, or one address.")
    ],
    port: Annotated[
        list[str] | None,
        typer.Option("--port", metavar="PORT|A-B", help="Try these; 8188 when none is given. Again for each."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Put what is new into the configuration.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Ask every address of a private network whether a ComfyUI listens there. At most 1,024 addresses; asks first.

    Exit code 1: nothing was found, or the answer was no.
    """

    def work() -> int:
        from orchestrator_mcp.command import discovering

        return discovering.discover(network, port or (), config, add=add, agreed=yes, as_json=as_json)

    end_with(work)


@commands.command("add", rich_help_panel=FARM)
def add(
    address: Annotated[
        str, typer.Argument(metavar="HOST[:PORT]", help="Where its ComfyUI listens; port 8188 when none is given.")
    ],
    backend_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="How jobs and logs name it. Otherwise made of its address.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="The name that people see.")] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option("--capability", metavar="LABEL", help="A label that jobs may ask for. Again for each."),
    ] = None,
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, max=2, help="2 keeps a second job standing by at the server.")
    ] = None,
    available: Annotated[
        str | None,
        typer.Option("--available", metavar="HOURS", help="When it may render, such as 'Mon-Fri 19:00-08:00'."),
    ] = None,
    config: Config = None,
) -> None:
    """Put a backend into config.yaml; every other line of the file stays as it is.

    The file as it was is kept beside it, as config.yaml.bak. A running orchestrator takes the backend over by itself.
    """

    def work() -> int:
        from orchestrator_mcp.command import editing

        given = {"name": name, "capabilities": capability, "max_concurrent_jobs": slots, "available": available}
        return editing.add(editing.entry_for(address, backend_id, given), config)

    end_with(work)


@commands.command("remove", rich_help_panel=FARM)
def remove(
    backend: Annotated[str, typer.Argument(metavar="ID", help="The id of a backend.")], config: Config = None
) -> None:
    """Take a backend out of config.yaml, with the comment right above it; what it renders goes on to its end."""

    def work() -> int:
        from orchestrator_mcp.command import editing

        return editing.remove(backend, config)

    end_with(work)
