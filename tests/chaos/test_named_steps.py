from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator_mcp.domain.steps import Step
from tests.chaos.checker import check
from tests.chaos.doors import wishes
from tests.chaos.driver import crash_at_step, last_life
from tests.chaos.ground import ground

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("step", Step, ids=str)
async def test_a_crash_after_any_step_loses_nothing_and_renders_nothing_twice(tmp_path: Path, step: Step) -> None:
    asked = wishes(7, 8)
    assert {wish.door for wish in asked} == {"http", "mcp", "inbox"}
    async with ground(tmp_path, servers=2) as stand:
        if step is Step.ADOPTED:
            await crash_at_step(stand, asked, Step.ACCEPTED)
        await crash_at_step(stand, asked, step)
        await last_life(stand, asked)
        verdict = check(stand)
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": len(asked)}
    assert verdict.repeated == 0
