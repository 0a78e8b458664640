"""Where an address leads, without asking every route: there are eighty, and each request goes to one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

_BEGINNING: Final = 2  # parts of an address that tell its routes from others

_Key = tuple[str, int, tuple[str, ...]]


class Directory(BaseRoute):
    """Many routes as one: only those are asked that are as long as the address and begin as it does.

    Args:
        routes: in the order in which they are asked; those whose address begins with a parameter, or may be of any
            length, come after all others.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._by_beginning: dict[_Key, list[BaseRoute]] = defaultdict(list)
        self._others: list[BaseRoute] = []
        for route in routes:
            key = _key_of(route)
            (self._others if key is None else self._by_beginning[key]).append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Which route it is, as `route` in the scope; the first that takes the address and the method."""
        partial: tuple[Match, Scope] = Match.NONE, {}
        for route in (*self._by_beginning.get(_key(scope["type"], scope["path"]), ()), *self._others):
            match, child = route.matches(scope)
            if match is Match.FULL:
                return match, {**child, "route": route}
            if match is Match.PARTIAL and partial[0] is Match.NONE:
                partial = match, {**child, "route": route}
        return partial

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go there."""
        await scope["route"].handle(scope, receive, send)


def _key(kind: str, path: str) -> _Key:
    parts: Sequence[str] = path.split("/")[1:]
    return kind, len(parts), tuple(parts[:_BEGINNING])


def _key_of(route: BaseRoute) -> _Key | None:
    """Where to keep a route; None when its address does not tell."""
    if not isinstance(route, Route | WebSocketRoute) or ":path}" in route.path:
        return None
    key = _key("http" if isinstance(route, Route) else "websocket", route.path)
    return None if any("{" in part for part in key[2]) else key
