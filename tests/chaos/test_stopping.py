from __future__ import annotations

import signal
from pathlib import Path

import anyio
import pytest

from tests.chaos.checker import check
from tests.chaos.doors import ask, wishes
from tests.chaos.driver import STOPS_WITHIN, last_life
from tests.chaos.ground import ground
from tests.chaos.life import life

pytestmark = pytest.mark.chaos

RENDERING = "SELECT count(*) >= 2 FROM job WHERE stage = 'rendering'"


async def test_sigterm_under_load_is_quick_and_loses_and_cancels_nothing(tmp_path: Path) -> None:
    asked = wishes(21, 40)
    async with ground(tmp_path) as stand:
        for number in range(4):
            async with life(stand.config) as running, anyio.create_task_group() as tasks:
                assert await running.opened()
                tasks.start_soon(ask, stand, running.url, asked[: (number + 1) * 10])
                with anyio.fail_after(60):
                    await stand.until(RENDERING)
                with anyio.fail_after(STOPS_WITHIN):
                    assert await running.stop() == 0
                tasks.cancel_scope.cancel()
        await last_life(stand, asked)
        verdict = check(stand)
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": len(asked)}
    assert verdict.repeated == 0


async def test_a_second_sigterm_ends_it_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    asked = wishes(22, 10)
    async with ground(tmp_path, step_ms=100) as stand:
        async with life(stand.config) as running, anyio.create_task_group() as tasks:
            assert await running.opened()
            tasks.start_soon(ask, stand, running.url, asked)
            with anyio.fail_after(60):
                await stand.until(RENDERING)
            running.process.send_signal(signal.SIGTERM)
            running.process.send_signal(signal.SIGTERM)
            with anyio.fail_after(STOPS_WITHIN):
                assert await running.ended() in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
            tasks.cancel_scope.cancel()
        await last_life(stand, asked)
        verdict = check(stand)
    assert verdict.faults == []
    assert verdict.repeated == 0
