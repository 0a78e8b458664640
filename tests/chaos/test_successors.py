"""A process that dies while a job waits here for the end of the render before it."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest

from tests.chaos.checker import check
from tests.chaos.driver import answers
from tests.chaos.ground import Ground, ground
from tests.chaos.life import life
from tests.scheduler.core import render

pytestmark = pytest.mark.chaos


async def _submit(stand: Ground, url: str, seed: int) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        body = {"workflow": render(20, seed=seed), "idempotency_key": f"seed {seed}"}
        answer = (await client.post("/api/job", json=body)).raise_for_status()
        stand.keys[f"seed {seed}"] = answer.json()["job_id"]


async def test_a_job_that_was_claimed_ahead_is_rendered_once_after_a_crash(tmp_path: Path) -> None:
    async with ground(tmp_path, servers=1) as stand:
        stand.write_config(slots=1)
        server = stand.farm[0]
        with anyio.fail_after(120):
            async with life(stand.config) as running:
                assert await running.opened()
                for seed in (1, 2, 3):
                    await _submit(stand, running.url, seed)
                    await stand.until_all_delivered(seed)
                server.set_fault("freeze")
                for seed in (4, 5):
                    await _submit(stand, running.url, seed)
                await stand.until("SELECT count(*) = 2 AND sum(stage = 'dispatching') = 1 FROM job WHERE state = 1")
                running.kill()
            assert server.queue.remaining() == 1
            async with life(stand.config) as running:
                assert await running.opened()
                await stand.until("SELECT count(*) = 2 FROM job WHERE state = 1")
                server.clear_faults()
                await stand.until_all_delivered(5)
                stand.answers = await answers(running.url)
                assert await running.stop() == 0
        verdict = check(stand)
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": 5}
    assert verdict.repeated == 0
