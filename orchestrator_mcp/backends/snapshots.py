"""A backend as placement sees it; made anew only when something about it is no longer as it was."""

from __future__ import annotations

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.domain.placement import Candidate


def snapshot(backend: Backend, running: int, withheld: str | None) -> Candidate:
    """What placement needs to know of a backend, as values that no longer change.

    Args:
        backend: one of ours.
        running: attempts that it holds now.
        withheld: why it takes no job now, or None.

    Returns:
        The same object as before if it still says what is so: there may be a thousand of them before each decision.
    """
    settings = backend.settings
    slots = 1 if backend.breaker.trial or backend.sharing.foreign else settings.slots
    if backend.snapshot is not None:
        told_of, last = backend.snapshot
        if (
            told_of is settings
            and last.running == running
            and last.unavailable == withheld
            and last.slots == slots
            and last.catalogue is backend.catalogue
            and last.warm == backend.warm
            and last.epoch == backend.epoch
        ):
            return last
    made = Candidate(
        backend_id=settings.id,
        epoch=backend.epoch,
        unavailable=withheld,
        capabilities=frozenset(settings.capabilities),
        slots=slots,
        running=running,
        catalogue=backend.catalogue,
        warm=backend.warm,
        sandbox=settings.kind == "sandbox",
    )
    backend.snapshot = (settings, made)
    return made
