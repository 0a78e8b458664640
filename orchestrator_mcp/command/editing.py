"""`backends add` and `backends remove`: config.yaml is changed, once the new text has proven sound."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator_mcp.command.ending import ExitCode, UsageError, say
from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.files import FileTooLargeError, is_missing, read_regular, write_durably, write_new
from orchestrator_mcp.settings import Settings, load_settings
from orchestrator_mcp.settings.config_file import MAX_BYTES
from orchestrator_mcp.settings.editing import with_backend, without_backend
from orchestrator_mcp.settings.sections import place_of
from orchestrator_mcp.settings.settings import CONFIG_NAME, locate_config

COPY_SUFFIX: Final = ".bak"
USUAL_PORT: Final = 8188
_RELOADED: Final = "A running orchestrator takes it over by itself, within seconds."
_ADDRESS: Final = re.compile(r"(?:(https?)://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+)(?::([0-9]{1,5}))?/?")


def entry_at(host: str, port: int) -> dict[str, Any]:
    """What config.yaml says of a server of which no more is known than where it listens.

    Args:
        host: a name or an address.
        port: 1 to 65535.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", host).strip("-")[:50]
    own = {} if port == USUAL_PORT else {"port": port}
    return {"id": f"comfy-{name}" + (f"-{port}" if own else ""), "host": host, **own}


def entry_for(address: str, backend_id: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The entry for a server as somebody names it.

    Args:
        address: `HOST`, `HOST:PORT`, or either as a url.
        backend_id: its id; made of the address when None.
        given: further keys; those without a value are left out.

    Raises:
        UsageError: the address is none.
    """
    found = _ADDRESS.fullmatch(address.strip())
    port = int(found[3] or USUAL_PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise UsageError(f"{address[:80]!r} is no address.", hint="Write it as 192.168.1.100:8188, or as node1.studio.")
    entry = entry_at(found[2].strip("[]"), port)
    scheme = {"scheme": "https"} if found[1] == "https" else {}
    if backend_id is not None:
        entry["id"] = backend_id
    return {**entry, **scheme, **{key: value for key, value in given.items() if value}}


def add(entry: dict[str, Any], config: Path | None) -> int:
    """Put a backend into the configuration.

    Args:
        entry: its keys, as the file has them.
        config: the file that the command line named; a new ./config.yaml when there is none anywhere.

    Returns:
        The exit code.

    Raises:
        UsageError: it stands there already.
        SettingsError: the entry or the file is wrong; nothing was changed.
    """
    path = locate_config(config) or Path(CONFIG_NAME).absolute()
    present = Settings() if is_missing(path) else load_settings(path)
    if any(backend.id == entry["id"] for backend in present.backends):
        raise UsageError(f"A backend {entry['id']!r} stands in {path} already.", hint="Give it another --id.")
    host, port = entry["host"], entry.get("port", USUAL_PORT)
    if there := next((backend.id for backend in present.backends if backend.place == place_of(host, port)), None):
        raise UsageError(
            f"{host}:{port} stands in {path} already, as {there}.",
            hint=f"Change it there, or take it out: orchestrator-mcp backends remove {there}.",
        )
    changed = _change(path, lambda text: with_backend(text, entry))
    added = next(backend for backend in changed.backends if backend.id == entry["id"])
    say(f"{added.id} ({added.url}) was added to {path}. {_RELOADED}")
    return ExitCode.OK


def remove(backend_id: str, config: Path | None) -> int:
    """Take a backend out of the configuration.

    Args:
        backend_id: which.
        config: the file that the command line named.

    Returns:
        The exit code.

    Raises:
        UsageError: there is no configuration, or no such backend in it.
        SettingsError: the file is wrong; nothing was changed.
    """
    path = locate_config(config)
    if path is None:
        raise UsageError("There is no configuration to take it out of.", hint="Name one with --config.")
    present = load_settings(path)
    if all(backend.id != backend_id for backend in present.backends):
        known = ", ".join(backend.id for backend in present.backends) or "none"
        raise UsageError(f"No backend {backend_id!r} stands in {path}.", hint=f"There are: {known}.")
    _change(path, lambda text: without_backend(text, backend_id))
    say(f"{backend_id} was taken out of {path}. {_RELOADED} What it renders goes on to its end.")
    return ExitCode.OK


def _change(path: Path, edit: Callable[[str], str]) -> Settings:
    """Replace the file by its edited text, once that has proven to be a sound configuration."""
    try:
        text = read_regular(path.resolve(), most=MAX_BYTES).content.decode("utf-8-sig") if path.exists() else ""
        edited = edit(text)
        settings = _checked(path, edited)
        if path.exists():
            write_durably(path.with_name(path.name + COPY_SUFFIX), text.encode())
        write_durably(path.resolve(), edited.encode())
    except (OSError, FileTooLargeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be changed: {error}.", hint="It is as it was.") from error
    return settings


def _checked(path: Path, text: str) -> Settings:
    """Load the text from beside the file: its paths are relative to the folder."""
    beside = path.resolve().with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with write_new(beside) as target:
            target.write(text.encode())
        return load_settings(beside)
    except SettingsError as error:
        said = error.message.replace(str(beside), str(path))
        raise SettingsError(said, hint="Nothing was changed.", details=error.details) from None
    finally:
        beside.unlink(missing_ok=True)
