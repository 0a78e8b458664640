"""The stages of one attempt are put on record in their order, without keeping the attempt waiting for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from orchestrator_mcp.domain.jobs import Stage
from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.scheduler.resources import Resources
from orchestrator_mcp.store import OpenAttempt, Written


@dataclass(kw_only=True)
class _Told:
    """One stage: how it is written, and the write that was handed over, unless that was refused."""

    write: Callable[[], Written[None]]
    written: Written[None] | None = None

    @property
    def refused(self) -> bool:
        return self.written is None or self.written.failed

    @property
    def on_its_way(self) -> bool:
        return self.written is not None and self.written.waits


class Stages:
    """Where an attempt stands, for the record.

    No promise hangs on a stage: an attempt that is adopted is looked for on its backend, whatever the record says of
    it. So what is told here is durable a moment later, mostly in one transaction with somebody else's write or with
    the end of the attempt.

    Args:
        resources: see `Resources`.
        held: the attempt.
    """

    def __init__(self, resources: Resources, held: OpenAttempt) -> None:
        self._resources = resources
        self._held = held
        self._told: deque[_Told] = deque()

    def enter(self, stage: Stage, step: Step, *, accepted_as: str | None = None, reason: str | None = None) -> None:
        """The attempt is in another stage from now on.

        Args:
            stage: the new one.
            step: called as soon as that is durable.
            accepted_as: the prompt id under which the backend took it, when that is known now.
            reason: why, in words, where that says more than the stage.
        """
        resources = self._resources
        told = _Told(
            write=partial(
                resources.store.advance,
                self._held,
                stage,
                resources.clock.now(),
                accepted_as=accepted_as,
                reason=reason,
                then=partial(resources.at_step, step),
            )
        )
        if not any(before.refused for before in self._told):  # none overtakes another
            with suppress(StorageError):  # then it is as if it had been refused later: see `settle`
                told.written = told.write()
        self._told.append(told)

    async def settle(self) -> None:
        """See that all that was told stands before the attempt ends: what is written now is stored with it or after it.

        What could not be stored is stored now, in its order.

        Raises:
            LeaseLostError: the attempt is no longer ours.
        """
        while self._told and not self._told[0].on_its_way:
            told = self._told[0]
            try:
                if told.written is None:
                    await self._resources.persist(told.write)
                else:
                    await told.written
                self._told.popleft()
            except StorageError:
                told.written = None
