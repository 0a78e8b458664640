"""`mcp-config`: what an agent's program must know of this orchestrator; printed, or merged into that program's file."""

from __future__ import annotations

import errno
import json
import stat
import sys
from pathlib import Path
from typing import Any, Final

from orchestrator_mcp.command.agent_hosts import HOSTS, TOKEN_VARIABLE, Address, AgentHost, Command, Transport
from orchestrator_mcp.command.ending import ExitCode, UsageError, say
from orchestrator_mcp.command.json_text import TextError, with_entry
from orchestrator_mcp.command.toml_text import table_text, with_table
from orchestrator_mcp.errors import StartError
from orchestrator_mcp.files import (
    FileTooLargeError,
    NotRegularError,
    free_names,
    read_regular,
    write_durably,
)
from orchestrator_mcp.machine.listening import reachable_url
from orchestrator_mcp.machine.presence import find_running
from orchestrator_mcp.machine.tokens import TOKEN_NAME
from orchestrator_mcp.settings import load_settings, locate_config

SERVER_NAME: Final = "render-farm"
MAX_BYTES: Final = 32 * 1024 * 1024  # some hosts keep their history in the same file
_BOM: Final = "\ufeff"
_PRIVATE: Final = 0o600
_PROGRAM: Final = "orchestrator-mcp"
_CACHED: Final = "archive-v0"  # where uvx keeps what it ran; it may be gone tomorrow


def configure(client: str, transport: Transport, config: Path | None, *, write: bool, file: Path | None = None) -> int:
    """Print what an agent's program must be told, or write it into its file.

    Args:
        client: a key of `HOSTS`.
        transport: whether the program starts the orchestrator, or calls one that runs.
        config: the configuration that the command line named.
        write: change the program's file; otherwise nothing is changed.
        file: the file to change, when it is not where the program usually has it.

    Returns:
        The exit code.

    Raises:
        UsageError: the client cannot be reached like this, or its file cannot be parsed; nothing was changed.
        SettingsError: the configuration is wrong.
        StartError: the file cannot be written.
    """
    host = HOSTS[client]
    entry = _entry(host, transport, config)
    target = (file or host.file()).expanduser().absolute()
    if write:
        return _merge(host, entry, target)
    document = {host.group: {SERVER_NAME: entry}}
    snippet = table_text(host.group, SERVER_NAME, entry) if host.toml else json.dumps(document, indent=2) + "\n"
    sys.stdout.write(snippet)
    sys.stdout.flush()
    say(f"For {host.title}: it belongs into {target}; --write puts it there.")
    return ExitCode.OK


def _entry(host: AgentHost, transport: Transport, config: Path | None) -> dict[str, Any]:
    if transport == "stdio":
        return host.started(_command(config))
    if host.reached is None:
        raise UsageError(
            f"{host.title} calls servers over HTTP from its maker's network, which does not reach this machine.",
            hint="Leave --transport out: it then starts orchestrator-mcp stdio, which joins the one that runs.",
        )
    return host.reached(_address(config))


def _command(config: Path | None) -> Command:
    """How to start this very installation, from any folder."""
    found = locate_config(config)
    if found is None:
        raise UsageError(
            "There is no configuration, so the orchestrator would keep its jobs in whatever folder the agent's program "
            "happens to start it.",
            hint="Make an empty config.yaml in a folder of your choice and name it with --config: data, Inbox and "
            "Outbox then lie beside it.",
        )
    load_settings(found)
    arguments = ["stdio", "--config", str(found)]
    here = Path(sys.executable)
    if _CACHED in here.parts:
        return Command(program="uvx", arguments=[_PROGRAM, *arguments])
    for name in (_PROGRAM, f"{_PROGRAM}.exe"):
        if (script := here.with_name(name)).is_file():
            return Command(program=str(script), arguments=arguments)
    return Command(program=str(here), arguments=["-m", "orchestrator_mcp.cli", *arguments])


def _address(config: Path | None) -> Address:
    settings = load_settings(config)
    running = find_running(settings.data_dir)
    server = settings.server
    if running is None and server.port == 0:
        raise UsageError(
            "The configuration lets the orchestrator take any free port, so its address is not known before it runs.",
            hint="Give it one: server.port in config.yaml.",
        )
    if server.port == 0:
        say("Note: this port is free for one run only. Give the orchestrator a fixed one: server.port in config.yaml.")
    url = running.url if running else reachable_url(server.host, server.port)
    if server.asks_for_token:
        say(
            f"It asks for a token: start the agent's program with ${TOKEN_VARIABLE} set. "
            f"The server's own token lies in {settings.data_dir / TOKEN_NAME}."
        )
    return Address(url=f"{url}/mcp", token=server.asks_for_token)


def _merge(host: AgentHost, entry: dict[str, Any], named: Path) -> int:
    """Put the entry into the file, with a copy of the old one beside it.

    A link is followed, because people keep such files elsewhere and link them; its name stays where it was.
    """
    try:
        target = named.resolve()
        before = read_regular(target, most=MAX_BYTES).content if target.exists() else None
        after = _merged(host, entry, named, before)
        if before == after:
            say(f"{host.title} knows it already: {named} is as it was.")
            return ExitCode.OK
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = None if before is None else _copy(target, before)
        mode = _PRIVATE if before is None else stat.S_IMODE(target.stat().st_mode)
        write_durably(target, after, mode=mode)
    except (OSError, FileTooLargeError, NotRegularError) as error:
        raise StartError(f"{named} cannot be changed: {error.strerror or error}.", hint="It is as it was.") from error
    say(f"{host.title} knows {SERVER_NAME} now: {named} was {'written' if copy is None else 'changed'}.")
    if copy is not None:
        say(f"The file as it was: {copy}")
    say(f"{host.title} sees it when it starts anew.")
    return ExitCode.OK


def _merged(host: AgentHost, entry: dict[str, Any], named: Path, before: bytes | None) -> bytes:
    try:
        text = (before or b"").decode("utf-8")
        bare = text.removeprefix(_BOM)
        if host.toml:
            changed = with_table(bare, host.group, SERVER_NAME, entry)
        else:
            changed = with_entry(bare, host.group, SERVER_NAME, entry, comments=host.comments)
    except UnicodeDecodeError as error:
        line = (before or b"").count(b"\n", 0, error.start) + 1
        raise _refused(named, f"line {line}: it is not UTF-8") from None
    except TextError as error:
        raise _refused(named, str(error)) from None
    return (text[: len(text) - len(bare)] + changed).encode("utf-8")


def _refused(named: Path, reason: str) -> UsageError:
    return UsageError(
        f"{named} was left as it is, {reason}.",
        hint="Mend that first, or add by hand what this prints without --write.",
    )


def _copy(target: Path, content: bytes) -> Path:
    """Keep the content beside the file, for its owner's eyes only: such files may hold other servers' secrets."""
    for name in free_names(f"{target.name}.bak"):
        copy = target.with_name(name)
        if not copy.exists():
            write_durably(copy, content, mode=_PRIVATE)
            return copy
    raise FileExistsError(errno.EEXIST, "every name for a copy is taken")
