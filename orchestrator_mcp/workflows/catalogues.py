"""What the backends know of their node classes, as far as workflows need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Catalogue(Protocol):
    """The node classes of one backend; it never changes."""

    @property
    def raw(self) -> Mapping[str, Mapping[str, Any]]:
        """class -> definition, as the backend answers `GET /object_info`."""

    @property
    def digest(self) -> str:
        """What equal catalogues have in common; dear at the first asking."""


Catalogues = Callable[[], Mapping[str, Catalogue]]
"""Gives those that are known now, by backend, in the order of the configuration. Asked on the event loop."""


def none_known() -> dict[str, Catalogue]:
    """The catalogues where there are no backends."""
    return {}


def that_count(known: Mapping[str, Catalogue], pin: str | None) -> list[Catalogue]:
    """The catalogues by which a workflow is read; no two of them are equal.

    Args:
        known: see `Catalogues`.
        pin: the only backend that shall run it; None: any may.
    """
    if pin is not None:
        return [known[pin]] if pin in known else []
    found: dict[str, Catalogue] = {}
    for catalogue in known.values():
        found.setdefault(catalogue.digest, catalogue)
    return list(found.values())
