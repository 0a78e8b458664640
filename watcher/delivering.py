"""One kind of delivery, again and again: asked for, placed, put on record; or put off, so that the others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.steps import AtStep, Step
from orchestrator_mcp.errors import UnavailableError

logger = logging.getLogger(__name__)

D = TypeVar("D")
_PAUSE: Final = 2.0  # seconds before the service or the folder is asked again after a failure
_LONGEST_PAUSE: Final = 30.0


class Source(Protocol[D]):
    """Where deliveries come from, and where it is told what became of them."""

    async def due(self) -> list[D]:
        """What is to be delivered now; waits until there is something."""

    async def record(self, name: str, folder: Path | None, /) -> None:
        """It is delivered."""

    def put_off(self, name: str, reason: str, /) -> None:
        """It is not, and is due again later."""


@dataclass(kw_only=True)
class Line(Generic[D]):
    """Serves one source.

    Attributes:
        source: what is to be delivered.
        name_of: what a delivery is called: the id of its job or batch.
        place: puts a delivery where it belongs, and gives its folder; runs in a thread, maybe again after a crash.
        threads: how many are placed at one time.
        clock: the time.
        at_step: see `domain.steps`.
        outbox: where deliveries go, for words about trouble.
        trouble: what keeps it from working now, in words, or None.
    """

    source: Source[D]
    name_of: Callable[[D], str]
    place: Callable[[D], Path | None]
    threads: CapacityLimiter
    clock: Clock
    at_step: AtStep
    outbox: Path
    trouble: str | None = None

    async def run(self) -> None:
        """Deliver what is due, until cancelled."""
        pause = _PAUSE
        while True:
            try:
                settled = await self._deliver_all(await self.source.due())
                self.trouble = None
            except (OSError, UnavailableError) as failure:
                settled = False
                self._in_trouble(f"The Outbox {self.outbox} is not served now: {failure}")
            except Exception:
                # The supervision boundary around one turn.
                settled = False
                logger.exception("A turn of the Outbox failed; it is tried again.")
            if settled:
                pause = _PAUSE
            else:
                await self.clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _in_trouble(self, words: str) -> None:
        if self.trouble != words:
            logger.warning("%s It is tried again.", words)
        self.trouble = words

    async def _deliver_all(self, deliveries: list[D]) -> bool:
        """Deliver some at one time. Whether the service knows of each what became of it."""
        settled: list[bool] = []

        async def deliver(delivery: D) -> None:
            settled.append(await self._deliver(delivery))

        async with anyio.create_task_group() as tasks:
            for delivery in deliveries:
                tasks.start_soon(deliver, delivery)
        return all(settled)

    async def _deliver(self, delivery: D) -> bool:
        """The supervision boundary around one delivery: the others go on whatever it does.

        On cancellation a copy that hangs is left behind; the next start removes what it made.
        """
        name = self.name_of(delivery)
        try:
            deed = partial(self.place, delivery)
            folder = await to_thread.run_sync(deed, limiter=self.threads, abandon_on_cancel=True)
            await self.source.record(name, folder)
            self.at_step(Step.RECORDED)
        except UnavailableError as failure:
            logger.warning("A delivery could not be recorded and is repeated: %s", failure, extra={"job_id": name})
            return False
        except OSError as failure:
            self._put_off(name, f"{failure.strerror or failure}")
        except Exception:
            logger.exception("A delivery failed; it is tried again.", extra={"job_id": name})
            self._put_off(name, "The delivery failed; the log says why.")
        else:
            if folder is not None:
                logger.info("Delivered to %s.", folder, extra={"job_id": name})
        return True

    def _put_off(self, name: str, reason: str) -> None:
        logger.warning("A delivery was put off: %s", reason, extra={"job_id": name})
        self.source.put_off(name, reason)
