"""Stop exactly one prompt on a backend, and prove it by looking."""

from __future__ import annotations

import logging
from typing import Final

from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import BackendError
from orchestrator_mcp.scheduler.reconciler import CLEAN_LOOKS, Place, Sighting, look

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1  # seconds between asking and looking, growing
LONGEST_PAUSE: Final = 2.0


async def stop_prompt(
    backend: Backend, prompt_id: str, *, clock: Clock, patience: float, insist: float | None = None
) -> Sighting:
    """Take a prompt out of the queue or interrupt it, again and again, until a look proves it gone.

    An interrupt is advice that ComfyUI may miss, and it is never sent where it could hit another prompt: a server too
    old to be told which is left to finish.

    Args:
        backend: where it is.
        prompt_id: under which id.
        clock: the time.
        patience: seconds of an unreachable backend after which it is left there, unseen.
        insist: seconds after which a prompt that is still there is left there; for ever when None.

    Returns:
        Where it ended: in history, or nowhere; or that it is still there, or that nobody can look.
    """
    began = clock.monotonic()
    pause, absent, told_old = FIRST_PAUSE, 0, False
    unreachable_since: float | None = None
    while True:
        try:
            sighting = await look(backend, prompt_id)
            unreachable_since = None
            absent = absent + 1 if sighting.place is Place.ABSENT else 0
            if sighting.place is Place.ENDED or absent >= CLEAN_LOOKS:
                return sighting
            if insist is not None and clock.monotonic() - began > insist and sighting.place is not Place.ABSENT:
                return sighting
            if sighting.place is Place.PENDING:
                await backend.client.delete_queued(prompt_id)
                continue
            if sighting.place is Place.RUNNING and not await backend.client.cancel_running(prompt_id) and not told_old:
                told_old = True
                log.warning("this server cannot be told which prompt to stop; waiting for its end")
        except BackendError as error:
            backend.distrust()
            unreachable_since = clock.monotonic() if unreachable_since is None else unreachable_since
            if clock.monotonic() - unreachable_since > patience:
                log.warning("gave up stopping a prompt: %s", error.message)
                return Sighting(place=Place.UNSEEN, prompt_id=prompt_id)
        await clock.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def withdraw_prompt(backend: Backend, prompt_id: str, *, clock: Clock) -> bool:
    """Take a standby back, unless it has begun to render.

    Args:
        backend: in whose queue it waits.
        prompt_id: under which id.
        clock: the time.

    Returns:
        Whether it is proven to be gone; False when it runs, has ended, or the backend does not answer.
    """
    absent = 0
    while absent < CLEAN_LOOKS:
        try:
            sighting = await look(backend, prompt_id)
            if sighting.place in (Place.RUNNING, Place.ENDED):
                return False
            if sighting.place is Place.PENDING:
                await backend.client.delete_queued(prompt_id)
        except BackendError as error:
            log.warning("cannot take a standby back: %s", error.message)
            return False
        absent = absent + 1 if sighting.place is Place.ABSENT else 0
        await clock.sleep(0)
    return True
