"""A backend as placement sees it; made anew only when something about it is no longer as it was."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.domain.placement import Candidate


def snapshot(backend: Backend, running: int, withheld: Callable[[Backend], str | None]) -> Candidate:
    """What placement needs to know of a backend, as values that no longer change.

    Args:
        backend: one of ours.
        running: attempts that it holds now.
        withheld: says why it takes no job now, or None.

    Returns:
        The same object as before if it still says what is so: there may be a thousand of them before each decision.
    """
    present = (running, *backend.condition)
    if backend.snapshot is not None and backend.snapshot[0] == present and not backend.sharing.foreign:
        return backend.snapshot[1]
    settings = backend.settings
    made = Candidate(
        backend_id=settings.id,
        epoch=backend.epoch,
        unavailable=withheld(backend),
        capabilities=frozenset(settings.capabilities),
        slots=1 if backend.breaker.trial or backend.sharing.foreign else settings.slots,
        running=running,
        catalogue=backend.catalogue,
        warm=backend.warm,
        sandbox=settings.kind == "sandbox",
    )
    backend.snapshot = (present, made)
    return made
