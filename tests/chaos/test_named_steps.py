from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator_mcp.domain.steps import Step
from tests.chaos.checker import check
from tests.chaos.doors import Wish, wishes
from tests.chaos.driver import crash_at_step, last_life
from tests.chaos.ground import ground
from tests.partners import text_to_image

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.WITHDRAWN], ids=str)
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


async def test_a_crash_while_a_standby_is_taken_back_queues_it_again(tmp_path: Path) -> None:
    def wish(key: str, steps: int, backend: str | None) -> Wish:
        graph = text_to_image(key, steps=steps, width=64, height=64)
        return Wish(key=key, door="http", graph=graph, backend=backend)

    asked = [
        wish("first", 1, "b0"),  # its history proves later that b0 did not restart
        wish("long", 400, "b0"),
        wish("short", 60, "b1"),
        wish("shorter", 40, "b1"),
        wish("standby", 2, None),  # only b0 has a place for it, until b1 is idle
    ]
    async with ground(tmp_path, servers=2) as stand:
        await crash_at_step(stand, asked, Step.WITHDRAWN)
        (left,) = stand.rows("SELECT uid, stage, backend_id FROM job WHERE idempotency_key = 'standby'")
        assert (left["stage"], left["backend_id"]) == ("waiting", "b0")
        assert left["uid"] not in [prompt.prompt_id for prompt in stand.farm[0].queue.pending]
        await last_life(stand, asked)
        verdict = check(stand)
        attempts = stand.answers[left["uid"]]["attempts"]
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": len(asked)}
    assert verdict.repeated == 0
    assert [attempt["outcome"] for attempt in attempts] == ["revoked", "succeeded"]
