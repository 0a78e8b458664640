"""Notices that what a waiting job lacks has come: a model file appears, and ComfyUI tells nobody.

Only while jobs wait that no backend can run, and only of the node classes in question: `GET /object_info/{class}` is
some kilobytes, where the whole list is megabytes. What differs has the whole list asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import anyio.to_thread

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Candidate, has_model, refusal
from orchestrator_mcp.errors import BackendError, StorageError
from orchestrator_mcp.scheduler.resources import Resources

log = logging.getLogger(__name__)

PROBES: Final = 2  # a look comes after so many probe intervals
MOST_LANES: Final = 100  # that are looked at in one round
MOST_CLASSES: Final = 8  # that one backend is asked about in one round


class MissingWatch:
    """Looks again at what waiting jobs lack.

    Args:
        resources: see `Resources`.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            await self._resources.clock.sleep(PROBES * self._resources.scheduling.probe_interval)
            try:
                lanes = await self._resources.store.lanes_waiting(MOST_LANES)
            except StorageError as error:
                log.debug("cannot tell which jobs wait: %s", error)
                continue
            if lanes:
                await self._look(lanes)

    async def _look(self, lanes: Sequence[LaneSpec]) -> None:
        pool = self._resources.pool
        wanted = await anyio.to_thread.run_sync(partial(classes_lacking, lanes, pool.candidates({})))
        async with anyio.create_task_group() as tasks:
            for backend_id, classes in wanted.items():
                if backend_id in pool:
                    tasks.start_soon(self._ask, pool[backend_id], classes, name=f"ask {backend_id}")

    async def _ask(self, backend: Backend, classes: Sequence[str]) -> None:
        known = backend.catalogue
        for class_type in classes:
            try:
                said = await backend.client.node_class(class_type)
            except BackendError as error:
                log.debug("it does not say what %s offers: %s", class_type, error, extra={"backend_id": backend.id})
                return
            if known is backend.catalogue and known is not None and said != known.raw.get(class_type):
                told = "it has something else for %s now, and is asked again for all"
                log.info(told, class_type, extra={"backend_id": backend.id})
                backend.forget_catalogue()
                return


def classes_lacking(lanes: Sequence[LaneSpec], candidates: Sequence[Candidate]) -> Mapping[str, list[str]]:
    """The node classes about which each backend is worth asking again.

    Args:
        lanes: with work.
        candidates: every backend.

    Returns:
        For each backend that is there, classes that it lacks or whose models it lacks, for jobs that no backend that
        is there can run; at most 8.
    """
    there = [one for one in candidates if one.unavailable is None and one.catalogue is not None]
    found: dict[str, dict[str, None]] = {}
    for lane in lanes:
        if any(refusal(lane, candidate) is None for candidate in there):
            continue
        for candidate in there:
            if refusal(lane, replace(candidate, catalogue=None)) is None:
                found.setdefault(candidate.backend_id, {}).update(dict.fromkeys(_lacking(lane, candidate)))
    return {backend_id: list(classes)[:MOST_CLASSES] for backend_id, classes in found.items() if classes}


def _lacking(lane: LaneSpec, candidate: Candidate) -> list[str]:
    catalogue, needs = candidate.catalogue, lane.requirements
    if catalogue is None:
        return []
    classes = [name for name in needs.node_classes if not catalogue.has_class(name)]
    return sorted({*classes, *(file.class_type for file in needs.models if not has_model(catalogue, file))})
