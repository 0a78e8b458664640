"""Models stay warm, speeds are learned and kept, and callers are told when their jobs will be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, SandboxServer
from tests.scheduler.core import Core, backend_for, core, render

MODELS = ("sd15.safetensors", "sdxl.safetensors")
HEAVY = SandboxOptions(step_ms=5, load_ms=300)
FAST = SandboxOptions(step_ms=40, load_ms=0)
SLOW = SandboxOptions(step_ms=300, load_ms=0)
PASSED_OVER = "it is free, but others will have done it sooner than it would"


async def ended(running: Core, jobs: list[str]) -> list[Any]:
    return [await running.end_of(job_id) for job_id in jobs]


async def waiting_reasons(running: Core, job_id: str) -> list[str]:
    return [why.reason for why in (await running.service.job(job_id)).waiting_because]


async def learn(running: Core, backends: tuple[str, ...], times: int = 2) -> None:
    """Have each backend render the usual graph, with its models warm at last."""
    for turn in range(times):
        for number, backend_id in enumerate(backends):
            graph = render(steps=10, seed=1_000 + 10 * turn + number)
            job = await running.end_of(await running.submit(graph, backend_affinity=backend_id))
            assert job.status == "completed"


async def test_jobs_of_two_models_are_rendered_with_few_loads(tmp_path: Path) -> None:
    async with Sandbox(HEAVY).serve() as one, Sandbox(HEAVY).serve() as two:
        async with core(tmp_path, [backend_for(one, "one"), backend_for(two, "two")]) as running:
            jobs = [
                await running.submit(render(seed=seed, model=MODELS[seed % 2]), metadata={"source": f"s{seed % 3}"})
                for seed in range(16)
            ]
            assert {job.status for job in await ended(running, jobs)} == {"completed"}
        assert one.memory.loads + two.memory.loads <= 4


async def test_a_job_says_when_it_will_be_done_as_soon_as_its_like_was_rendered(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        assert (await running.service.job(await running.submit(render(steps=3)))).eta_seconds is None
        first, second, third = [await running.submit(render(steps=3, seed=seed)) for seed in range(2, 5)]
        await running.until(second, "running")
        now, later = await running.service.job(second), await running.service.job(third)
        assert now.eta_seconds is not None and later.eta_seconds is not None
        assert now.eta_seconds < later.eta_seconds < 10
        assert (await running.end_of(third)).eta_seconds is None
        assert (await running.service.job(first)).eta_seconds is None


async def test_the_last_jobs_wait_for_the_fast_card_and_say_so(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as quick, Sandbox(SLOW).serve() as slow:
        async with core(tmp_path, [backend_for(quick, "quick"), backend_for(slow, "slow")]) as running:
            await learn(running, ("quick", "slow"))
            jobs = [await running.submit(render(steps=10, seed=seed)) for seed in range(3)]
            with anyio.fail_after(running.patience):
                while PASSED_OVER not in (reasons := await waiting_reasons(running, jobs[-1])):  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            finished = await ended(running, jobs)
        assert {job.backend_id for job in finished} == {"quick"}
        assert reasons[0] == "it is busy with 1 of ours"


async def test_what_was_learned_is_known_after_a_restart(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            await learn(running, ("one",))
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            job_id = await running.submit(render(steps=10, seed=7))
            await running.until(job_id, "running")
            shown = await running.service.job(job_id)
            await running.service.cancel(job_id)
            await running.end_of(job_id)
    assert shown.eta_seconds is not None
    assert 1 < shown.eta_seconds < 10


async def test_a_backend_that_restarted_has_nothing_warm(tmp_path: Path) -> None:
    async with Sandbox(HEAVY).serve() as one, core(tmp_path, [backend_for(one, "one")]) as running:
        await learn(running, ("one",))
        assert running.service.backend("one").warm == MODELS[0]
        known = one.memory.loads
        await one.restart()
        await running.until_backend("one", "idle")
        job_id = await running.submit(render(seed=3, model=MODELS[1]))
        with anyio.fail_after(10):
            await running.end_of(job_id)
        assert running.service.backend("one").warm == MODELS[1]
    assert known == 1


async def warmed(folder: Path, one: SandboxServer, two: SandboxServer) -> None:
    """A first life of the orchestrator, in which each backend loads a model of its own."""
    async with core(folder, [backend_for(one, "one"), backend_for(two, "two")]) as running:
        for backend_id, model in zip(("one", "two"), MODELS, strict=True):
            job_id = await running.submit(render(steps=2, model=model), backend_affinity=backend_id)
            assert (await running.end_of(job_id)).status == "completed"


async def test_the_first_job_after_a_restart_of_ours_goes_where_its_models_are(tmp_path: Path) -> None:
    async with Sandbox(HEAVY).serve() as one, Sandbox(HEAVY).serve() as two:
        await warmed(tmp_path, one, two)
        async with core(tmp_path, [backend_for(one, "one"), backend_for(two, "two")]) as running:
            for backend_id in ("one", "two"):
                await running.until_backend(backend_id, "idle")
            assert [running.service.backend(name).warm for name in ("one", "two")] == list(MODELS)
            for backend_id, model in (("two", MODELS[1]), ("one", MODELS[0])):
                job = await running.end_of(await running.submit(render(steps=2, seed=9, model=model)))
                assert job.backend_id == backend_id
        assert (one.memory.loads, two.memory.loads) == (1, 1)


async def test_what_restarted_or_rendered_for_others_meanwhile_is_not_taken_for_warm(tmp_path: Path) -> None:
    async with Sandbox(HEAVY).serve() as one, Sandbox(HEAVY).serve() as two:
        await warmed(tmp_path, one, two)
        await one.restart()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{two.port}", trust_env=False) as somebody:
            sent = await somebody.post("/prompt", json={"prompt": render(steps=1, model=MODELS[0])})
            prompt_id = sent.json()["prompt_id"]
            with anyio.fail_after(10):
                while not (await somebody.get(f"/history/{prompt_id}")).json():  # noqa: ASYNC110 - over HTTP
                    await anyio.sleep(0.02)
        async with core(tmp_path, [backend_for(one, "one"), backend_for(two, "two")]) as running:
            for backend_id in ("one", "two"):
                await running.until_backend(backend_id, "idle")
            assert [running.service.backend(name).warm for name in ("one", "two")] == [None, None]
