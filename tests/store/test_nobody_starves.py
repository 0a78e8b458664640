"""Whatever arrives, a job leaves the queue within a bound: the store, what was learned, and the decision together."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.backlog import AGEING
from orchestrator_mcp.domain.experience import Experience, Work
from orchestrator_mcp.domain.jobs import JobState, Outcome
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import PATIENCE, Candidate
from orchestrator_mcp.store import JobStore, NewJob, OpenAttempt
from tests.store.building import NOON, Everything, later, new_job, opened

TICK = 20  # seconds
RENDER = 20.0  # seconds
LOAD = 20.0
MOST = 3  # by how much others' priority is higher
BOUND = (MOST + 1) * AGEING / 1000 + PATIENCE / 1000 + 20 * (RENDER + LOAD)

Rival = tuple[int, str, str]  # priority, model, source


def job_of(rival: Rival, at: int) -> NewJob:
    priority, model, source = rival
    lane = LaneSpec(source=source, model_key=model, signature=f"work with {model}")
    return new_job(at=later(at), priority=priority, lane=lane)


class Farm:
    """Backends of equal speed in a time of their own, fed by the store's own claims."""

    def __init__(self, store: JobStore, backends: int) -> None:
        self.store = store
        self.experience = Experience()
        self.busy: dict[str, tuple[OpenAttempt, float] | None] = {f"b{number}": None for number in range(backends)}
        self.models: dict[str, str] = {}

    async def turn(self, at: int) -> list[str]:
        """End what is rendered, and claim; the jobs that were begun."""
        for name, work in self.busy.items():
            if work is not None and work[1] <= at:
                held, _ = work
                await self.store.finish(held, JobState.COMPLETED, Outcome.SUCCEEDED, later(at), reason="done")
                self.experience.ended(held.job_id, name, to_millis(later(at)), rendered=True)
                self.busy[name] = None
        now = NOON + timedelta(seconds=at)
        outlook = self.experience.outlook([self._candidate(name) for name in self.busy], to_millis(now))
        claimed = await self.store.claim(lambda: outlook.candidates, now, outlook.choose)
        for held in claimed:
            work_of = Work(spec=held.lane, signature=held.lane.signature)
            self.experience.given(held.job_id, held.backend_id, held.lane_id, work_of, to_millis(now))
            cold = self.models.get(held.backend_id) != held.lane.model_key
            self.models[held.backend_id] = held.lane.model_key
            self.busy[held.backend_id] = (held, at + RENDER + (LOAD if cold else 0))
        return [held.job_id for held in claimed]

    def _candidate(self, name: str) -> Candidate:
        return Candidate(
            backend_id=name,
            epoch=1,
            unavailable=None,
            capabilities=frozenset(),
            slots=1,
            running=int(self.busy[name] is not None),
            catalogue=Everything(),
        )


async def begun_after(rivals: list[Rival], backends: int) -> int:
    """Seconds until a job of the least priority is begun while others arrive faster than the farm renders."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "orchestrator.db") as store:
            farm, at = Farm(store, backends), 0
            victim = job_of((0, "sd", "victim"), 0)
            await store.accept(victim)
            while at <= 2 * BOUND:
                for rival in rivals[: backends + 1] if at else rivals:
                    await store.accept(job_of(rival, at))
                if victim.job_id in await farm.turn(at):
                    return at
                at += TICK
    raise AssertionError("it starved")


RIVALS = st.tuples(st.integers(0, MOST), st.sampled_from(["sd", "flux"]), st.sampled_from("xyz"))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RIVALS, min_size=1, max_size=6), st.integers(1, 2))
def test_a_job_of_the_least_priority_is_begun_in_time_whatever_arrives(rivals: list[Rival], backends: int) -> None:
    assert anyio.run(begun_after, rivals, backends) <= BOUND
