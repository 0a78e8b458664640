"""What the readers of one thing share while there are any: one look at the store, and what they are told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import anyio

MOST_VIEWS: Final = 16  # kept of one look; readers may ask under many names of this machine

E = TypeVar("E")
Told = MutableMapping[tuple[str, str | None], E]
"""What callers are told of one look, by kind and the base url they use."""


class Page:
    """What the readers of one thing share; kinds of readers add their own."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.readers = 0


P = TypeVar("P", bound=Page)


class Pages(dict[str, P], Generic[P]):
    """The pages that somebody reads, by the id of what they are about.

    Args:
        make: makes an empty page.
    """

    def __init__(self, make: Callable[[], P]) -> None:
        super().__init__()
        self._make = make

    @contextmanager
    def opened(self, name: str) -> Iterator[P]:
        """One page, for as long as the block lasts; it goes with its last reader."""
        page = self.setdefault(name, self._make())
        page.readers += 1
        try:
            yield page
        finally:
            page.readers -= 1
            if not page.readers:
                del self[name]


async def told_once(page: Page, told: Told[E], key: tuple[str, str | None], make: Callable[[], Awaitable[E]]) -> E:
    """What callers are told of a look, made once for all who ask for the same.

    Args:
        page: whose readers ask.
        told: what was made of this look so far.
        key: the kind, and the base url.
        make: makes it.
    """
    event = told.get(key)
    if event is not None:
        return event  # without the lock, which costs each of a thousand readers a turn of the loop
    async with page.lock:
        event = told.get(key)
        if event is None:
            event = await make()
            if len(told) < MOST_VIEWS:
                told[key] = event
        return event
