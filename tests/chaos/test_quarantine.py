from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.sandbox import FaultProxy
from tests.chaos.checker import check
from tests.chaos.doors import ask, wishes
from tests.chaos.driver import last_life
from tests.chaos.ground import ground
from tests.chaos.life import life

pytestmark = pytest.mark.chaos


async def test_a_crash_while_prompts_are_in_flight_renders_none_twice(tmp_path: Path) -> None:
    asked = wishes(11, 6)
    async with ground(tmp_path, servers=2) as stand, AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(FaultProxy((server.host, server.port)).serve()) for server in stand.farm
        ]
        stand.write_config([proxy.port for proxy in proxies], post_timeout=3, quarantine=2)
        for proxy in proxies:
            proxy.set_fault("tcp-post-delay:1500")
        for _ in range(3):
            async with life(stand.config) as running, anyio.create_task_group() as tasks:
                assert await running.opened()
                tasks.start_soon(ask, stand, running.url, asked)
                with anyio.fail_after(60):
                    await stand.until("SELECT count(*) > 0 FROM job WHERE stage = 'dispatching'")
                running.kill()
                tasks.cancel_scope.cancel()
        await last_life(stand, asked)
        verdict = check(stand)
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": len(asked)}
    assert verdict.repeated == 0
