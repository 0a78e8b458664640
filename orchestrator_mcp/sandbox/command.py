"""The ``sandbox`` command: servers on a range of ports until a signal comes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import anyio

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.sandbox.farm import same_for_all, serve_many
from orchestrator_mcp.sandbox.faults import PROXY_FAULTS, parse_fault
from orchestrator_mcp.sandbox.options import DEFAULT_MODELS, DEFAULT_VERSION, SandboxOptions
from orchestrator_mcp.sandbox.proxy import FaultProxy
from orchestrator_mcp.sandbox.server import SandboxServer

_MOST_PORTS = 10_000


def parse_ports(text: str) -> list[int]:
    """Read ports as they stand on a command line.

    Args:
        text: One port, or a range such as ``8188-8191``; ``0`` takes a free one.

    Returns:
        The ports in order.

    Raises:
        ValueError: If it is neither.
    """
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise ValueError(f"ports are one number or a range such as 8188-8191, not {text!r}")
    low, high = int(first), int(last or first)
    if high > 65535 or low > high or (low == 0 and high > 0) or high - low >= _MOST_PORTS:
        raise ValueError(f"{text!r} is no range of ports between 1 and 65535 with at most {_MOST_PORTS} of them")
    return list(range(low, high + 1))


def run(
    ports: str,
    step_ms: float = 5.0,
    load_ms: float = 0.0,
    models: list[str] | None = None,
    faults: list[str] | None = None,
    oracle: Path | None = None,
    host: str = "127.0.0.1",
    *,
    folder: Path | None = None,
    comfyui_version: str = DEFAULT_VERSION,
    previews: bool = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM; print one line per port as soon as it answers.

    Args:
        ports: One port or a range such as ``8188-8191``.
        step_ms: Simulated work per sampler step, in milliseconds.
        load_ms: Simulated time to load another model, in milliseconds.
        models: Model files as ``folder/name``; the default ones if there are none.
        faults: Faults from the start, as ``name`` or ``name:argument``; with one of ``PROXY_FAULTS`` among them,
            a proxy listens on each port, and its server on a free one behind it.
        oracle: File to which every accepted and every ended prompt is appended as a JSON line.
        host: The address to listen on.
        folder: Where pictures are kept, each server in a subfolder; None makes a temporary folder.
        comfyui_version: The version that is imitated.
        previews: Whether samplers send preview pictures.

    Raises:
        StartError: If an argument is wrong, a port is taken or a folder cannot be made.
    """
    try:
        between = tuple(fault for fault in faults or () if parse_fault(fault)[0] in PROXY_FAULTS)
        options = SandboxOptions(
            step_ms=step_ms,
            load_ms=load_ms,
            models=tuple(models) if models else DEFAULT_MODELS,
            faults=tuple(fault for fault in faults or () if fault not in between),
            oracle=oracle,
            folder=folder,
            comfyui_version=comfyui_version,
            previews=previews,
        )
        wanted = parse_ports(ports)
    except ValueError as error:
        raise StartError(f"The sandbox cannot start: {error}.") from error
    try:
        anyio.run(partial(_serve, wanted, options, host, between))
    except OSError as error:
        hint = "Choose other ports with --ports, or stop what uses these."
        raise StartError(f"The sandbox cannot serve {host}:{ports}: {error}.", hint=hint) from error


async def _serve(ports: list[int], options: SandboxOptions, host: str, between: tuple[str, ...]) -> None:
    behind = [0] * len(ports) if between else ports
    with _stop_signal() as stopped:
        async with serve_many(behind, same_for_all(options), host=host) as servers, AsyncExitStack() as stack:
            fronts: list[SandboxServer | FaultProxy] = [*servers]
            if between:
                proxies = [FaultProxy((host, server.port), between) for server in servers]
                fronts = [
                    await stack.enter_async_context(one.serve(host, port))
                    for one, port in zip(proxies, ports, strict=True)
                ]
            _announce(fronts)
            await stopped.wait()


def _announce(fronts: Sequence[SandboxServer | FaultProxy]) -> None:
    for front in fronts:
        sys.stdout.write(f"sandbox ready on {front.url}\n")
    sys.stdout.flush()


@contextmanager
def _stop_signal() -> Iterator[anyio.Event]:
    """Give an event that Ctrl-C and SIGTERM set, on every system."""
    stopped = anyio.Event()
    loop = asyncio.get_running_loop()  # a signal wakes the loop only through its own thread-safe call
    before = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, former in before.items():
            signal.signal(number, former)
