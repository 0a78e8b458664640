"""`backends discover`: which ComfyUI servers answer in a network. Bounded, and asked for first."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.command import editing
from orchestrator_mcp.command.ending import ExitCode, UsageError, say
from orchestrator_mcp.command.printing import print_json
from orchestrator_mcp.command.tables import device_text, paint
from orchestrator_mcp.errors import BackendError
from orchestrator_mcp.redaction import escape
from orchestrator_mcp.settings import BackendSettings, Settings, load_settings
from orchestrator_mcp.settings.sections import place_of

MOST_ADDRESSES: Final = 1024
MOST_PLACES: Final = 16_384  # addresses times ports: some minutes where nobody answers
AT_ONCE: Final = 64
CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 4.0

_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_LAST_PORT: Final = 65_535

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Found:
    """A ComfyUI server that answered.

    Attributes:
        known_as: its id in the configuration, when it stands there.
    """

    host: str
    port: int
    version: str
    devices: tuple[str, ...]
    queued: int
    known_as: str | None

    @property
    def entry(self) -> dict[str, Any]:
        """What config.yaml would say of it."""
        return editing.entry_at(self.host, self.port)


def discover(
    network: str,
    ports: Sequence[str],
    config: Path | None,
    *,
    add: bool,
    agreed: bool,
    as_json: bool,
    confirm: Callable[[str], bool] = typer.confirm,
) -> int:
    """Ask every address of a network whether a ComfyUI listens there.

    Args:
        network: as `192.168.1.0/24`; private ones only.
        ports: tried at each address, as `ports_of` takes them; the usual one when there are none.
        config: the file that the command line named.
        add: put what is new into the configuration.
        agreed: do not ask first.
        as_json: print a list for programs.
        confirm: asks the person.

    Returns:
        The exit code; 1 when nothing was found.

    Raises:
        UsageError: the network is none, too large, or not a private one; a port is none; together they are too many.
        SettingsError: the configuration is wrong.
    """
    addresses, numbers = addresses_of(network), ports_of(ports) or [editing.USUAL_PORT]
    if len(addresses) * len(numbers) > MOST_PLACES:
        raise UsageError(
            f"{len(addresses):,} addresses with {len(numbers):,} ports each are too many; {MOST_PLACES:,} places are "
            "searched at the most.",
            hint="Name fewer ports, such as 8188-8191, or a smaller part of the network.",
        )
    settings = load_settings(config)
    wanted = f"{len(addresses)} addresses of {network}" if len(addresses) > 1 else network
    wanted += ", port " if len(numbers) == 1 else ", ports "
    wanted += ", ".join(ports) or str(editing.USUAL_PORT)
    if not agreed and not confirm(f"Knock at {wanted}?"):
        say("Nothing was sent.")
        return ExitCode.FAILED
    found = anyio.run(_ask_all, [(host, port) for host in addresses for port in numbers], settings)
    if as_json:
        print_json(json.dumps([{**one.entry, "version": one.version, "known_as": one.known_as} for one in found]))
    else:
        paint(_table(found) if found else Text(f"No ComfyUI answered at {wanted}."))
    new = [one for one in found if one.known_as is None]
    if add:
        for one in new:
            editing.add(one.entry, config)
        if found and not new and not as_json:
            say("All of them are in the configuration already; nothing was changed.")
    elif new and not as_json:
        say("Add them with --add, or one by one: orchestrator-mcp backends add HOST[:PORT]")
    return ExitCode.OK if found else ExitCode.FAILED


def addresses_of(text: str) -> list[str]:
    """Every address of a network that a machine can have.

    Args:
        text: `192.168.1.0/24`, or one address.

    Raises:
        UsageError: it is none, too large, or not a private one.
    """
    try:
        network: Network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise UsageError(
            f"{text[:80]!r} is no network.", hint="Write it as 192.168.1.0/24, or give one address."
        ) from None
    if not network.is_private:
        raise UsageError(
            f"{network} is not a private network.",
            hint="ComfyUI knows no password, so only private networks are searched.",
        )
    if network.num_addresses > MOST_ADDRESSES:
        raise UsageError(
            f"{network} has {network.num_addresses:,} addresses; {MOST_ADDRESSES:,} are searched at the most.",
            hint="Name a smaller part of it, such as 192.168.1.0/24.",
        )
    return [str(address) for address in network.hosts()] or [str(network.network_address)]


def ports_of(texts: Iterable[str]) -> list[int]:
    """Every port that is named, once and in order.

    Args:
        texts: each a port, a range such as `8188-8191`, or several of them with commas between.

    Raises:
        UsageError: one of them is neither.
    """
    found: set[int] = set()
    for part in (part.strip() for text in texts for part in text.split(",")):
        match = _PORTS.fullmatch(part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= low <= high <= _LAST_PORT:
            raise UsageError(
                f"--port: {part[:40]!r} is no port.", hint="Write 8188, a range such as 8188-8191, or 8188,8190."
            )
        found.update(range(low, high + 1))
    return sorted(found)


async def _ask_all(places: Sequence[tuple[str, int]], settings: Settings) -> list[Found]:
    found: list[Found] = []
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def ask(host: str, port: int) -> None:
        async with limit:
            if await _listens(host, port) and (answer := await _ask(host, port, settings)) is not None:
                found.append(answer)

    async with anyio.create_task_group() as tasks:
        for host, port in places:
            tasks.start_soon(ask, host, port, name=f"{host}:{port}")
    return sorted(found, key=lambda one: (ipaddress.ip_address(one.host).packed, one.port))


async def _listens(host: str, port: int) -> bool:
    with anyio.move_on_after(CONNECT_SECONDS):
        try:
            stream = await anyio.connect_tcp(host, port)
        except OSError:
            return False
        await stream.aclose()
        return True
    return False


async def _ask(host: str, port: int, settings: Settings) -> Found | None:
    """What listens there, if it answers as ComfyUI does."""
    quick = settings.scheduling.model_copy(
        update={"connect_timeout": CONNECT_SECONDS, "probe_timeout": ANSWER_SECONDS, "post_timeout": ANSWER_SECONDS}
    )
    backend = BackendSettings(id="asked", host=host, port=port)
    try:
        async with ComfyClient(backend, scheduling=quick, limits=settings.limits) as client:
            stats = await client.stats()
            queued = await client.queue_remaining()
    except BackendError:
        return None
    known = next((one.id for one in settings.backends if one.place == place_of(host, port)), None)
    devices = tuple(device_text(device) for device in stats.devices)
    return Found(host=host, port=port, version=stats.version or "", devices=devices, queued=queued, known_as=known)


def _table(found: Iterable[Found]) -> RenderableType:
    table = Table("Address", "ComfyUI", "Devices", "Queued", "In the configuration", box=None, header_style="bold")
    for one in found:
        cells = (f"{one.host}:{one.port}", one.version, ", ".join(one.devices), str(one.queued), one.known_as or "no")
        table.add_row(*(Text(escape(cell)) for cell in cells))
    return table
