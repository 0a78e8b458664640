"""Ways in which a sandbox server, or the network before it, can misbehave on purpose, and which of them are on."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "slow-http": "Every HTTP request waits first (argument: milliseconds, default 1000).",
        "freeze": "The running prompt makes no further progress until the fault is cleared or it is interrupted.",
        "zombie-a": "Prompts are accepted and stay pending; nothing ever runs.",
        "zombie-b": "A prompt stays running for ever after execution_start, and no interrupt reaches it.",
        "prompt-500": "POST /prompt answers 500, but the prompt is queued.",
        "prompt-refuse-500": "POST /prompt answers 500, and the prompt is not queued.",
        "prompt-drop": "POST /prompt queues the prompt and cuts the connection before it answers.",
        "prompt-delay": "POST /prompt is acted on only after a while (argument: milliseconds, default 1000).",
        "garbage-json": "Requests are acted on, but answered with broken JSON (argument: only this path).",
        "html-502": "HTTP requests are answered by a gateway's 502 page (argument: only this path).",
        "truncated-view": "GET /view promises the whole file and closes the connection half-way.",
        "wrong-length-view": "GET /view gives a complete answer that holds only half of the file.",
        "view-404": "GET /view finds no file.",
        "html-view": "GET /view answers 200 with a web page, as a proxy that wants a login.",
        "upload-413": "POST /upload/image answers 413, as for a file over --max-upload-size.",
        "history-forget": "History loses every prompt as soon as it ends.",
        "history-silent": "History tells what a prompt made and not how it ended, as before 2024.",
        "history-delay": "History is written late after execution_success (argument: milliseconds, default 500).",
        "no-ws": "The WebSocket handshake is refused.",
        "ws-drop": "A WebSocket is closed after so many messages (argument: their number, default 5).",
        "ws-deaf": "A WebSocket stays open and gets no message after the first status.",
        "oom": "Samplers fail as a GPU that ran out of memory.",
        "runtime-error": "The first node that runs fails with a RuntimeError.",
        "ignore-interrupt": "POST /interrupt is answered and has no effect.",
        "lose-prompt-id": "As 0.3.40: the caller's prompt_id is ignored and a new one is drawn.",
        "tcp-latency": "Every piece on a connection comes later, both ways (argument: milliseconds, default 100).",
        "tcp-cut": "A connection is closed after so many bytes of answers (argument: bytes, default 1000).",
        "tcp-reset": "A connection is reset after so many bytes of answers (argument: bytes, default 0).",
        "tcp-blackhole": "Connections stay open and carry nothing any more, as when a router drops everything.",
        "tcp-garbage": "Answers arrive as random bytes of the same length.",
        "tcp-post-delay": "POST /prompt arrives late, even without its caller (argument: milliseconds, default 1000).",
    }
)
"""Every fault by name, with what it does."""

PROXY_FAULTS = frozenset(name for name in FAULTS if name.startswith("tcp-"))
"""Those that happen between client and server, in a ``FaultProxy``."""

SERVER_FAULTS = frozenset(FAULTS) - PROXY_FAULTS
"""Those of the server itself."""

_DEFAULT_ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "slow-http": "1000",
        "prompt-delay": "1000",
        "history-delay": "500",
        "ws-drop": "5",
        "tcp-latency": "100",
        "tcp-cut": "1000",
        "tcp-reset": "0",
        "tcp-post-delay": "1000",
    }
)
_PATH_ARGUMENTS = frozenset({"garbage-json", "html-502"})


def parse_fault(text: str) -> tuple[str, str]:
    """Read a fault as it stands on a command line.

    Args:
        text: ``name`` or ``name:argument``.

    Returns:
        The name and its argument, which is empty where none is taken.

    Raises:
        ValueError: If there is no such fault, or the argument does not fit it.
    """
    name, _, argument = text.partition(":")
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(FAULTS)}"
        raise ValueError(f"no fault is called {name!r}; {hint}")
    if name in _PATH_ARGUMENTS:
        return name, argument
    if name not in _DEFAULT_ARGUMENTS:
        if argument:
            raise ValueError(f"the fault {name!r} takes no argument, but got {argument!r}")
        return name, ""
    argument = argument or _DEFAULT_ARGUMENTS[name]
    if not argument.isdecimal():
        raise ValueError(f"the fault {name!r} takes a whole number, but got {argument!r}")
    return name, argument


class FaultSet:
    """The faults that are on for one server or proxy; every change is announced."""

    def __init__(
        self,
        faults: tuple[str, ...],
        *,
        changed: Callable[[], None],
        known: Collection[str] = SERVER_FAULTS,
    ) -> None:
        """Turn on the first faults.

        Args:
            faults: Each as ``name`` or ``name:argument``.
            changed: Called after each later change.
            known: Names that are possible here: ``SERVER_FAULTS`` or ``PROXY_FAULTS``.

        Raises:
            ValueError: If one of them does not exist, or not here.
        """
        self._known = known
        self._active = dict(self._parse(fault) for fault in faults)
        self._changed = changed

    def set(self, fault: str) -> None:
        """Turn a fault on, or change its argument.

        Args:
            fault: ``name`` or ``name:argument``.

        Raises:
            ValueError: If there is no such fault, or not here.
        """
        name, argument = self._parse(fault)
        self._active[name] = argument
        self._changed()

    def _parse(self, fault: str) -> tuple[str, str]:
        name, argument = parse_fault(fault)
        if name not in self._known:
            place = "the proxy before a server" if name in PROXY_FAULTS else "the server"
            raise ValueError(f"the fault {name!r} happens in {place}, not here")
        return name, argument

    def clear(self, *names: str) -> None:
        """Turn faults off.

        Args:
            names: Which ones; all if none is named.
        """
        for name in names or tuple(self._active):
            self._active.pop(name, None)
        self._changed()

    def on(self, name: str) -> bool:
        """Tell whether a fault is on.

        Args:
            name: One of ``FAULTS``.
        """
        return name in self._active

    def number(self, name: str) -> int | None:
        """Give the numeric argument of a fault that is on.

        Args:
            name: A fault that takes a number.

        Returns:
            The number, or None while the fault is off.
        """
        argument = self._active.get(name)
        return None if argument is None else int(argument)

    def hits_path(self, name: str, path: str) -> bool:
        """Tell whether a fault that may be bound to a path concerns this one.

        Args:
            name: ``garbage-json`` or ``html-502``.
            path: The request's path, without ``/api``.
        """
        argument = self._active.get(name)
        return argument is not None and path.startswith(argument)
