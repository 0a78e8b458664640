"""What the nodes of a backend are, for commands that convert workflows: from a file, or from a running orchestrator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import anyio
from pydantic import TypeAdapter

from orchestrator_mcp.backends.catalogue import parse_catalogue
from orchestrator_mcp.backends.shapes import parse_json
from orchestrator_mcp.command.api import RefusedError, Where, find_server, open_api
from orchestrator_mcp.command.ending import UnreachableError, UsageError
from orchestrator_mcp.domain.views import BackendView
from orchestrator_mcp.files import read_regular

Classes = Mapping[str, Any]
"""class -> definition, as a backend answers `GET /object_info`."""

_MOST_BYTES: Final = 256 << 20
_BACKENDS: Final = TypeAdapter(list[BackendView])
_OTHER_WAY: Final = "Or give what the backend answers at /object_info with --object-info FILE."


class AskedCatalogues:
    """The node classes of the backends of a running orchestrator, each asked for when it is needed, and once.

    Args:
        where: the orchestrator.
        backend: the only backend that counts; None: all of them, in their order.
    """

    def __init__(self, where: Where, backend: str | None) -> None:
        self._where = where
        self._backend = backend
        self._found: list[Classes] = []
        self._asking = self._ask()

    def __iter__(self) -> Iterator[Classes]:
        """Raises what `Api.get` raises, and UsageError when no backend has told of its nodes."""
        place = 0
        while True:
            while place < len(self._found):
                yield self._found[place]
                place += 1
            if (more := next(self._asking, None)) is None:
                return
            self._found.append(more)

    def _ask(self) -> Iterator[Classes]:
        seen: set[str] = set()
        for backend in [self._backend] if self._backend is not None else self._online():
            text = self._get(f"/api/backends/{quote(backend, safe='')}/object_info", must=self._backend is not None)
            digest = hashlib.sha256((text or "").encode()).hexdigest()
            if text is not None and digest not in seen:
                seen.add(digest)
                yield _read(text, f"the answer of {backend}")
        if not seen:
            raise UsageError("No backend of the orchestrator has told of its nodes yet.", hint=_OTHER_WAY)

    def _online(self) -> list[str]:
        views = _BACKENDS.validate_json(self._get("/api/backends", must=True) or "[]")
        return [view.id for view in sorted(views, key=lambda view: not view.online)]

    def _get(self, path: str, *, must: bool) -> str | None:
        async def get() -> str:
            async with open_api(find_server(self._where)) as api:
                return await api.get(path)

        try:
            return anyio.run(get)
        except RefusedError as error:
            if must or error.status != 503:
                raise
            return None
        except UnreachableError as error:
            raise UnreachableError(error.message, hint=f"{error.hint} {_OTHER_WAY}") from error


def catalogues(where: Where, *, object_info: Path | None, backend: str | None) -> Iterable[Classes]:
    """The node classes to convert by; nothing is read or asked before it is needed.

    Args:
        where: the orchestrator to ask.
        object_info: a file with what a backend answers; then nobody is asked.
        backend: the only backend that counts.

    Raises:
        UsageError: both are given, or the file is none.
    """
    if object_info is None:
        return AskedCatalogues(where, backend)
    if backend is not None:
        raise UsageError("--object-info and --backend are two ways to say one thing; give one of them.")
    try:
        raw = read_regular(object_info.expanduser().resolve(), most=_MOST_BYTES).content
    except OSError as error:
        raise UsageError(f"{object_info} cannot be read: {error.strerror or error}.") from None
    return (_read(raw, str(object_info)),)


def _read(raw: str | bytes, called: str) -> Classes:
    try:
        return parse_catalogue(parse_json(raw)).raw
    except ValueError as error:
        wanted = "It must be what a ComfyUI server answers at /object_info: an object with a node class for each name."
        raise UsageError(f"{called} is no list of node classes: {str(error)[:200]}.", hint=wanted) from None
