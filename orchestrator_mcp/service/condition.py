"""What is wrong with the house now, and whether it may take anything in: its parts are asked when somebody asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)

CLOSED_RETRY: Final = 10.0  # seconds after which a caller may ask whether manifests are accepted again
DAMAGE_HINT: Final = "Stop the orchestrator and run `orchestrator-mcp doctor`."

Source = Callable[[], str | None]
"""Gives a sentence, or None."""


class Condition:
    """Gathers what the parts of the house say about themselves.

    Args:
        store: says whether the database is damaged, and whether the last write failed.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._closings: list[Source] = []
        self._troubles: list[Source] = []
        self._notices: list[Source] = []

    def close_while(self, source: Source) -> None:
        """Accept nothing for as long as a part of the house says why not."""
        self._closings.append(source)

    def report_trouble(self, source: Source) -> None:
        """Have health ask a part of the house whether something is wrong with it."""
        self._troubles.append(source)

    def report_notice(self, source: Source) -> None:
        """Have health ask a part of the house whether there is something to know that needs no mending."""
        self._notices.append(source)

    @property
    def closed_because(self) -> str | None:
        """Why nothing is accepted now; None when something may be."""
        if self._store.damage is not None:
            return f"The database is damaged and nothing more is accepted: {self._store.damage}. {DAMAGE_HINT}"
        return next(_said(self._closings), None)

    @property
    def accepting(self) -> bool:
        """Whether a manifest that comes now has a chance: nothing is closed, and the last write went well."""
        return self.closed_because is None and self._store.trouble is None

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, each once."""
        damage = self.closed_because if self._store.damage is not None else None
        told = [damage, self._store.trouble, *_said(self._closings), *_said(self._troubles)]
        return list(dict.fromkeys(sentence for sentence in told if sentence))

    @property
    def notices(self) -> list[str]:
        """Everything that is worth knowing."""
        return list(_said(self._notices))

    def require_open(self) -> None:
        """Raise StorageError while nothing is accepted."""
        if (reason := self.closed_because) is not None:
            raise StorageError(reason, retry_after=CLOSED_RETRY)

    async def check_database(self) -> None:
        """Look for damage; when there is some, nothing more is accepted."""
        try:
            damage = await self._store.check()
        except StorageError as error:
            log.warning("the database could not be checked: %s", error)
            return
        if damage is not None:
            log.error("the database is damaged: %s", damage)


def _said(sources: Iterable[Source]) -> Iterator[str]:
    return (sentence for source in sources if (sentence := source()) is not None)
