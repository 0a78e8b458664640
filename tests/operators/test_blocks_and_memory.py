"""What fails on one backend and succeeds on others goes elsewhere for a while; and memory that is freed on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator_mcp.domain.blocklist import MOST_KINDS, OUT_OF_MEMORY_AFTER, Blocklist, End
from orchestrator_mcp.domain.lanes import LaneSpec, Requirements
from orchestrator_mcp.domain.placement import choose, refusal
from orchestrator_mcp.errors import NotFoundError
from orchestrator_mcp.sandbox import SandboxServer
from tests.domain.test_placement import NOW as NOW_MILLIS
from tests.domain.test_placement import backend as candidate
from tests.domain.test_placement import lane
from tests.partners import SandboxFactory, sandboxes
from tests.scheduler.core import PICTURE, backend_for, core, quick, render

__all__ = ["sandboxes"]
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SPEC = LaneSpec(requirements=Requirements(node_classes=frozenset({"KSampler"})), source="alice", model_key="m")
OTHER = replace(SPEC, requirements=Requirements(node_classes=frozenset({"LoadImage"})))


def failing(blocklist: Blocklist, times: int, backend_id: str = "a", end: End = End.NODE_ERROR) -> None:
    for _ in range(times):
        blocklist.ended(backend_id, SPEC, end, NOW, workflow_id="w", reason="node 3 raised", lasting=60.0)


def test_a_kind_is_blocked_where_it_fails_again_and_again_while_it_succeeds_elsewhere() -> None:
    blocklist = Blocklist()
    failing(blocklist, 9)
    assert blocklist.of("a", NOW) == [], "it may be the workflow"
    blocklist.ended("b", replace(SPEC, source="bob", avoid=frozenset({"a"})), End.WELL, NOW)
    failing(blocklist, 1)
    [block] = blocklist.of("a", NOW)
    assert (block.failures, block.workflow_id, block.until) == (10, "w", NOW + timedelta(seconds=60))
    assert blocklist.of("b", NOW) == [] and blocklist.of("a", NOW + timedelta(seconds=60)) == []


def test_a_success_there_forgets_the_failures() -> None:
    blocklist = Blocklist()
    blocklist.ended("b", SPEC, End.WELL, NOW)
    failing(blocklist, 2)
    blocklist.ended("a", SPEC, End.WELL, NOW)
    failing(blocklist, 2)
    assert blocklist.of("a", NOW) == []


def test_running_out_of_memory_counts_sooner_and_alone() -> None:
    blocklist = Blocklist()
    failing(blocklist, OUT_OF_MEMORY_AFTER, end=End.OUT_OF_MEMORY)
    assert len(blocklist.of("a", NOW)) == 1


def test_placement_avoids_the_backend_only_while_another_one_is_there_that_can() -> None:
    blocklist = Blocklist()
    failing(blocklist, OUT_OF_MEMORY_AFTER, end=End.OUT_OF_MEMORY)
    farm = [candidate("a"), candidate("b")]
    work = [lane(1, requirements=SPEC.requirements, model_key="m", source="carol")]
    assert [choice.backend_id for choice in choose(work, blocklist.applied(farm, NOW), NOW_MILLIS)] == ["b"]
    away = [candidate("a"), candidate("b", unavailable="it is offline")]
    assert [choice.backend_id for choice in choose(work, blocklist.applied(away, NOW), NOW_MILLIS)] == ["a"]
    applied = blocklist.applied(farm, NOW)
    assert "failed there 2 times in a row" in (refusal(work[0].spec, applied[0]) or "")
    assert refusal(replace(work[0].spec, pin="a"), applied[0]) is None, "who pins a job knows what they do"
    assert refusal(OTHER, replace(applied[0], catalogue=None)) is None
    assert blocklist.clear("a") == 1 and blocklist.applied(farm, NOW) == farm


def test_when_all_are_blocked_none_is() -> None:
    blocklist = Blocklist()
    for name in ("a", "b"):
        failing(blocklist, OUT_OF_MEMORY_AFTER, name, End.OUT_OF_MEMORY)
    assert all(not one.blocked for one in blocklist.applied([candidate("a"), candidate("b")], NOW))


def test_only_so_many_kinds_are_remembered() -> None:
    blocklist = Blocklist()
    failing(blocklist, OUT_OF_MEMORY_AFTER, end=End.OUT_OF_MEMORY)
    for number in range(MOST_KINDS):
        blocklist.ended("b", replace(SPEC, model_key=str(number)), End.WELL, NOW)
    assert blocklist.of("a", NOW) == []


async def test_what_fails_on_one_machine_goes_elsewhere_until_somebody_has_mended_it(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    broken, well = await sandboxes(), await sandboxes()
    farm = [backend_for(broken, "broken"), backend_for(well, "well")]
    async with core(tmp_path, farm, quick(block_after=2)) as running:
        await running.until_backend("broken", "idle")
        await running.until_backend("well", "idle")
        assert (await running.end_of(await running.submit(PICTURE, backend_affinity="well"))).status == "completed"
        broken.set_fault("runtime-error")
        for _ in range(2):
            failed = await running.end_of(await running.submit(PICTURE, backend_affinity="broken"))
            assert failed.status == "failed" and failed.error is not None and failed.error.code == "node_error"
        [block] = running.service.backend("broken").blocked
        assert (block.failures, running.service.backend("well").blocked) == (2, [])
        for _ in range(4):
            assert (await running.end_of(await running.submit(PICTURE))).backend_id == "well"
        other = await running.end_of(await running.submit(render(steps=1), backend_affinity="broken"))
        assert other.status == "failed", "another kind of work is another matter, and may go there"
        broken.clear_faults()
        operators = running.service.operators
        with pytest.raises(NotFoundError):
            operators.unblock("broken", "0123456789abcdef")
        assert operators.unblock("broken", block.signature).blocked == []
        assert (await running.end_of(await running.submit(PICTURE, backend_affinity="broken"))).status == "completed"


def count_frees(server: SandboxServer) -> list[dict[str, bool]]:
    """A list that grows with each `POST /free`."""
    freed, free = list[dict[str, bool]](), server.free

    def counted(**wanted: bool) -> None:
        freed.append(wanted)
        free(**wanted)

    server.free = counted  # type: ignore[method-assign]
    return freed


@pytest.mark.parametrize(("wanted", "times"), [(True, 2), (False, 0)])
async def test_memory_is_freed_between_two_families_of_models_where_that_is_wanted(
    sandboxes: SandboxFactory, tmp_path: Path, wanted: bool, times: int
) -> None:
    models = ("checkpoints/one.safetensors", "checkpoints/two.safetensors")
    server = await sandboxes(models=models)
    freed = count_frees(server)
    async with core(tmp_path, [backend_for(server, "a", free_between_models=wanted)]) as running:
        for seed, model in enumerate(("one", "one", "two", "two", "one")):
            job = await running.submit(render(steps=1, seed=seed, model=f"{model}.safetensors"))
            assert (await running.end_of(job)).status == "completed"
            assert (await running.end_of(await running.submit(PICTURE))).status == "completed"  # it needs none
        assert freed == [{"unload_models": True, "free_memory": True}] * times


async def test_a_server_that_cannot_free_its_memory_renders_all_the_same(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    models = ("checkpoints/one.safetensors", "checkpoints/two.safetensors")
    server = await sandboxes(models=models, faults=("html-502:/free",))
    async with core(tmp_path, [backend_for(server, "a", free_between_models=True)]) as running:
        for model in ("one", "two"):
            job = await running.submit(render(steps=1, model=f"{model}.safetensors"))
            assert (await running.end_of(job)).status == "completed"
