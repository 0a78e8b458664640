"""Looks before a job is queued: could any backend run it? Refused only when each was asked just now and cannot.

Whatever is not known for certain is in the job's favour: a backend that is offline, drained, suspect, closed or not
yet heard may be able to, so the job is queued and says why it waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio
import anyio.to_thread

from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.backends.pool import Backend, BackendPool
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.lanes import LaneSpec, Requirements
from orchestrator_mcp.domain.preflight import Finding, in_words
from orchestrator_mcp.errors import NoBackendCanError, Problem
from orchestrator_mcp.service.acceptance import bound_graph, is_large
from orchestrator_mcp.service.packs import packs_known
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import NewJob
from orchestrator_mcp.workflows.checking import names_own_files, problems_on

MOST_REMEMBERED: Final = 1_024
LOOKS_AT_ONCE: Final = 16
MOST_SHOWN: Final = 50  # backends that are told of
_A_FEW: Final = 3  # catalogues that are checked faster than a thread is reached


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What one backend would say to a job.

    Attributes:
        backend_id: the backend.
        can_run: whether it can run it; None when nobody knows.
        reasons: why not, or why that is not known.
    """

    backend_id: str
    can_run: bool | None
    reasons: tuple[str, ...] = ()


class Preflight:
    """Asks the backends on behalf of jobs that are not queued yet.

    Args:
        pool: the backends.
        settings: the configuration.
        running: attempts that have a slot of each backend now.
    """

    def __init__(
        self, *, pool: BackendPool, settings: CurrentSettings, running: Callable[[], Mapping[str, int]]
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._running = running
        self._able: OrderedDict[Requirements, str] = OrderedDict()
        self._newest: tuple[NewJob, Graph] | None = None

    async def require_able(self, new: NewJob) -> None:
        """Refuse a job that no backend can run.

        Args:
            new: what is about to be stored.

        Raises:
            NoBackendCanError: every enabled backend that may run it is there, was asked just now, and cannot.
        """
        graph, spec = self._graph_of(new), new.lane
        if await self._is_known_to_run(graph, spec):
            return
        asked = self._asked(spec)
        if not asked or any(_undecided(backend) for backend in asked):
            return
        labelled = [backend for backend in asked if _lacking_labels(backend, spec) is None]
        if not labelled:
            return  # labels are the configuration's matter, and it may change at any time: the job waits for one
        if await self._one_can(graph, spec, labelled):
            return
        if not await self._all_seen_now(labelled) or any(_undecided(backend) for backend in asked):
            return
        if await self._one_can(graph, spec, labelled):
            return
        findings = await self._findings(graph, labelled)
        pack_of = packs_known(self._pool)
        raise NoBackendCanError(
            {
                backend.id: _lacking_labels(backend, spec) or in_words(findings[backend.id], pack_of)
                for backend in asked[: NoBackendCanError.most_told]
            },
            places=_places(new, [findings[backend.id] for backend in labelled]),
        )

    async def steered(self, new: NewJob) -> NewJob:
        """The job, kept from backends that lack a file that it begins with, if another one is there that has it all.

        Such a file lies in a backend's own input folder. Each attempt elsewhere would only be refused.

        Args:
            new: what is about to be stored.
        """
        graph = self._graph_of(new)
        if new.lane.pin is not None or not names_own_files(graph):
            return new
        asked = [backend for backend in self._asked(new.lane) if backend.catalogue is not None][:MOST_SHOWN]
        findings = await self._findings(graph, asked)
        if not any(not findings[backend.id] and not _undecided(backend) for backend in asked):
            return new
        lacking = {name for name, found in findings.items() if any(finding.kind == "file" for finding in found)}
        return replace(new, lane=replace(new.lane, avoid=new.lane.avoid | lacking)) if lacking else new

    async def prospects(self, new: NewJob) -> list[Prospect]:
        """What each backend would say to a job: for the first 50 that may run it.

        Args:
            new: what would be stored.
        """
        graph = self._graph_of(new)
        shown = [backend for backend in self._pool if new.lane.pin in (None, backend.id)][:MOST_SHOWN]
        findings = await self._findings(graph, [backend for backend in shown if backend.catalogue is not None])
        pack_of = packs_known(self._pool)
        told = []
        for backend in shown:
            found = findings.get(backend.id)
            against = [_lacking_labels(backend, new.lane), in_words(found, pack_of) if found else None]
            unknown = [backend.unavailable, _silent(backend)]
            cannot = not backend.enabled or any(against)
            told.append(
                Prospect(
                    backend_id=backend.id,
                    can_run=None if any(unknown) and backend.enabled else not cannot,
                    reasons=tuple(reason for reason in [*against, *unknown] if reason),
                )
            )
        return told

    def _graph_of(self, new: NewJob) -> Graph:
        """A job's graph with every value bound: made once, whatever is asked about it in a row."""
        newest = self._newest
        if newest is None or newest[0] is not new:
            newest = self._newest = new, bound_graph(new.graph, new.spec)
        return newest[1]

    def is_free(self, backend_id: str) -> bool:
        """Whether a backend would begin with a job at once."""
        backend = self._pool[backend_id]
        used = self._running().get(backend_id, 0) or backend.sharing.foreign
        return backend.unavailable is None and not used

    def _asked(self, spec: LaneSpec) -> list[Backend]:
        return [backend for backend in self._pool if backend.enabled and spec.pin in (None, backend.id)]

    async def _is_known_to_run(self, graph: Graph, spec: LaneSpec) -> bool:
        """Whether the backend that could run the last job with these needs can run this one: the usual case."""
        backend_id = self._able.get(spec.requirements)
        if backend_id is None or backend_id not in self._pool:
            return False
        backend = self._pool[backend_id]
        if spec.pin not in (None, backend_id) or _undecided(backend) or _lacking_labels(backend, spec) is not None:
            return False
        return not (await self._findings(graph, [backend]))[backend_id]

    async def _one_can(self, graph: Graph, spec: LaneSpec, backends: Sequence[Backend]) -> bool:
        findings = await self._findings(graph, backends)
        able = next((backend_id for backend_id, found in findings.items() if not found), None)
        if able is None:
            return False
        self._able[spec.requirements] = able
        self._able.move_to_end(spec.requirements)
        if len(self._able) > MOST_REMEMBERED:
            self._able.popitem(last=False)
        return True

    async def _findings(self, graph: Graph, backends: Sequence[Backend]) -> dict[str, list[Finding]]:
        """What each backend would refuse; those that have equal objects as catalogues are looked at once."""
        known = [(backend.id, backend.catalogue) for backend in backends if backend.catalogue is not None]
        partial = self._settings.now.scheduling.allow_partial

        def check() -> dict[str, list[Finding]]:
            by_catalogue: dict[int, list[Finding]] = {}
            found = {}
            for backend_id, catalogue in known:
                if id(catalogue) not in by_catalogue:
                    by_catalogue[id(catalogue)] = _problems(graph, catalogue, partial)
                found[backend_id] = by_catalogue[id(catalogue)]
            return found

        return await anyio.to_thread.run_sync(check) if len(known) > _A_FEW or is_large(graph) else check()

    async def _all_seen_now(self, backends: Sequence[Backend]) -> bool:
        """Have all of them looked at; whether all said what they have."""
        failed: list[str] = []
        limiter = anyio.CapacityLimiter(LOOKS_AT_ONCE)

        async def look(backend: Backend, tasks: anyio.abc.TaskGroup) -> None:
            async with limiter:
                if not await self._pool.looks.seen_now(backend):
                    failed.append(backend.id)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for backend in backends:
                tasks.start_soon(look, backend, tasks, name=f"look at {backend.id}")
        return not failed


def _places(new: NewJob, findings: Sequence[Sequence[Finding]]) -> list[Problem]:
    """Where the caller wrote what every backend refuses: values of parameters."""
    refused = [{finding.target: finding for finding in found if finding.target} for found in findings]
    given = ((target, name) for name, targets in new.spec.targets.items() for target in targets)
    places: dict[str, Problem] = {}
    for target, name in given:
        if all(target in found for found in refused):
            finding = refused[0][target]
            places.setdefault(
                name,
                Problem(
                    path=("parameters", name),
                    message=in_words([finding]),
                    code="value",
                    allowed=finding.allowed or finding.near,
                ),
            )
    return list(places.values())


def _problems(graph: Graph, catalogue: NodeCatalogue, partial: bool) -> list[Finding]:
    return problems_on(graph, catalogue, partial=partial)


def _undecided(backend: Backend) -> bool:
    """Whether what a backend can run is not for certain now."""
    return backend.unavailable is not None or backend.catalogue is None


def _silent(backend: Backend) -> str | None:
    return "it has not yet said which nodes and models it has" if backend.catalogue is None else None


def _lacking_labels(backend: Backend, spec: LaneSpec) -> str | None:
    missing = sorted(spec.capabilities.difference(backend.settings.capabilities))
    return f"it lacks the capabilities {', '.join(missing)}" if missing else None
