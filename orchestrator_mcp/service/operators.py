"""What operators do with backends: drain, pause, resume, enable, disable, and forget what failed there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import anyio

from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.access import LOCAL, Caller, Scope
from orchestrator_mcp.domain.text import plain
from orchestrator_mcp.domain.views import BackendView
from orchestrator_mcp.domain.wishes import LONGEST_NOTE, WISHED, Action, Wish, after, against
from orchestrator_mcp.errors import ConflictError, ForbiddenError, ManifestError, NotFoundError
from orchestrator_mcp.service.showing import backend_view
from orchestrator_mcp.store import JobStore

MOST_TOLD: Final = 10

log = logging.getLogger(__name__)


class Operators:
    """Takes what they say, and keeps it on record.

    Args:
        store: keeps it beyond the end of the process.
        pool: the backends.
        running: attempts that have a slot of each backend now.
        clock: the time.
    """

    def __init__(
        self, *, store: JobStore, pool: BackendPool, running: Callable[[], Mapping[str, int]], clock: Clock
    ) -> None:
        self._store = store
        self._pool = pool
        self._running = running
        self._clock = clock
        self._one_at_a_time = anyio.Lock()

    async def act(self, backend_id: str, action: Action, *, by: Caller = LOCAL, note: str = "") -> BackendView:
        """Drain, pause, resume, enable or disable a backend.

        Args:
            backend_id: which.
            action: what.
            by: who says so.
            note: why; at most 200 characters.

        Returns:
            The backend as it is then.

        Raises:
            ManifestError: the note is too long.
            ForbiddenError: the caller is no admin.
            NotFoundError: no such backend.
            ConflictError: the configuration, or an earlier wish, stands against it.
            StorageError: it cannot be put on record now; nothing has changed.
        """
        _require_admin(by)
        if len(note) > LONGEST_NOTE:
            raise ManifestError.at("note", message=f"found {len(note)} characters; at most {LONGEST_NOTE} are taken")
        async with self._one_at_a_time:
            await self._act(backend_id, action, by, note)
        return self._view(backend_id)

    async def _act(self, backend_id: str, action: Action, by: Caller, note: str) -> None:
        backend = self._pool[backend_id]
        settings = backend.settings
        reason = against(action, backend.wish, enabled=settings.enabled, paused=settings.paused)
        if reason is not None:
            raise ConflictError(f"{backend_id} cannot be told to {action.value}: {reason}.")
        kind = WISHED.get(action)
        at = self._clock.now()
        wished = Wish(kind=kind, by=by.name, at=at, note=plain(note.strip())) if kind is not None else None
        wish = after(action, backend.wish, wished)
        if wish != backend.wish:
            await self._store.backends.keep_wish(backend_id, wish)
            log.info("%s by %s", action.value, by.name, extra={"backend_id": backend_id})
            self._pool.heed(backend_id, wish)

    @property
    def notices(self) -> list[str]:
        """Which backends somebody holds back, in sentences: it is forgotten easily."""
        held = [f"{backend.id}: {backend.wish.words}." for backend in self._pool if backend.wish is not None]
        more = [f"{len(held) - MOST_TOLD} more backends are held back."] if len(held) > MOST_TOLD else []
        return [*held[:MOST_TOLD], *more]

    def unblock(self, backend_id: str, signature: str | None = None, *, by: Caller = LOCAL) -> BackendView:
        """Forget what failed on a backend: no kind of work avoids it any more.

        Args:
            backend_id: which.
            signature: only this kind, as the backend's `blocked` names it; None for all.
            by: who says so.

        Returns:
            The backend as it is then.

        Raises:
            ForbiddenError: the caller is no admin.
            NotFoundError: no such backend, or nothing of that kind is blocked there.
        """
        _require_admin(by)
        blocks = [block.signature for block in self._pool.blocklist.of(self._pool[backend_id].id, self._clock.now())]
        if signature is not None and signature not in blocks:
            raise NotFoundError(f"kind of work blocked on {backend_id}", signature, known=blocks)
        ended = self._pool.blocklist.clear(backend_id, signature)
        log.info("%d kinds of work are blocked no longer, by %s", ended, by.name, extra={"backend_id": backend_id})
        self._pool.heed(backend_id, self._pool[backend_id].wish)
        return self._view(backend_id)

    def _view(self, backend_id: str) -> BackendView:
        backend = self._pool[backend_id]
        return backend_view(self._pool.view(backend, self._running().get(backend_id, 0)))


def _require_admin(by: Caller) -> None:
    if not by.may(Scope.ADMIN):
        raise ForbiddenError("Backends are an admin's matter.", hint="Use a token with the scope admin.")
