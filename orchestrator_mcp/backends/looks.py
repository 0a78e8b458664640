"""When backends are asked what they can run: on coming back, after a refusal, now and then, and when it matters.

Whoever asks at the same time shares one look. A catalogue that has not changed stays the same object, so that what
was worked out from it stays true.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.backends.catalogue import Catalogues, NodeCatalogue
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.events import BackendChanged
from orchestrator_mcp.errors import BackendError

log = logging.getLogger(__name__)

FRESH_FOR: Final = 5.0  # seconds for which a catalogue counts as seen just now
AT_ONCE: Final = 32  # catalogues that are on their way: they are some megabytes each
PATIENCE: Final = 10.0  # seconds that somebody who waits for an answer gives a backend to say what it has


@dataclass
class _Look:
    """The look at one backend: one at a time, and how the last one failed."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    began: float = float("-inf")
    error: BackendError | None = None


class CatalogueLooks:
    """Asks backends for their catalogues (`GET /object_info`, some megabytes).

    Args:
        clock: the time.
        tell: called when a backend has something else than before.
    """

    def __init__(self, clock: Clock, tell: Callable[[BackendChanged], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._looks: WeakKeyDictionary[Backend, _Look] = WeakKeyDictionary()
        self._known_ones = Catalogues()
        self._asking = anyio.CapacityLimiter(AT_ONCE)

    async def renew(self, backend: Backend, *, older_than: float) -> None:
        """Ask a backend again, unless what it said is new enough.

        Args:
            backend: whom.
            older_than: seconds.

        Raises:
            BackendError: it does not answer, or with something else.
        """
        asked = self._clock.monotonic()
        if self._known(backend, older_than):
            return
        look = self._looks.setdefault(backend, _Look())
        async with look.lock:
            if self._known(backend, older_than):
                return
            if look.error is not None and look.began >= asked:
                raise look.error
            look.error, look.began = None, self._clock.monotonic()
            try:
                await self._ask(backend, look.began)
            except BackendError as error:
                look.error = error
                raise

    async def seen_now(self, backend: Backend) -> bool:
        """Whether what is known of a backend is no older than some seconds; it is asked if need be.

        Returns:
            False when it does not say, or takes too long over it.
        """
        try:
            with anyio.fail_after(PATIENCE):
                await self.renew(backend, older_than=FRESH_FOR)
        except (BackendError, TimeoutError) as error:
            log.info("it cannot be asked now what it has: %s", error, extra={"backend_id": backend.id})
            return False
        return True

    def _known(self, backend: Backend, older_than: float) -> bool:
        return backend.catalogue is not None and self._clock.monotonic() - backend.catalogue_at <= older_than

    async def _ask(self, backend: Backend, began: float) -> None:
        forgets = backend.forgets
        async with self._asking:
            found = await backend.client.object_info(self._known_ones)
        if not await _same(found, backend.catalogue):
            backend.catalogue = found
            self._tell(BackendChanged(backend_id=backend.id))
        if forgets == backend.forgets:
            backend.catalogue_at = began


async def _same(found: NodeCatalogue, known: NodeCatalogue | None) -> bool:
    if found is known or known is None:
        return found is known
    return await anyio.to_thread.run_sync(lambda: found.raw == known.raw)
