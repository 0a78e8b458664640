from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.driver import Plan, carry_out
from tests.chaos.ground import ground

pytestmark = pytest.mark.chaos
log = logging.getLogger(__name__)

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "101,102").split(",")]


@pytest.mark.parametrize("seed", SEEDS)
async def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    async with ground(tmp_path) as stand:
        await carry_out(stand, Plan(seed=seed, jobs=100, kills=10))
        verdict = check(stand)
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": 100}
    assert verdict.repeated == 0


@pytest.mark.parametrize("seed", SEEDS)
async def test_kills_on_a_sick_farm_lose_nothing_and_every_repetition_is_flagged(tmp_path: Path, seed: int) -> None:
    async with ground(tmp_path) as stand:
        await carry_out(stand, Plan(seed=seed, jobs=60, kills=6, sick=True))
        verdict = check(stand)
    assert verdict.faults == []
    assert set(verdict.ends) <= {"completed", "failed poison_suspected", "failed outcome_unknown"}
