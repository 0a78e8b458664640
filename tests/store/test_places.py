"""A place in the queue: exact near both ends of a lane, a round estimate between them, never a long count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_mcp.store import JobStore, places
from orchestrator_mcp.store.places import NEAR, Surroundings, place_of
from tests.store.building import candidate, free, later, new_job

DEEP = Surroundings(queued=1_000_000, higher=0, lower=0, ahead=500, behind=500, ahead_to=1_500, behind_to=2_000_500)


def test_a_job_deep_in_a_lane_has_a_round_place_by_how_far_it_is_between_both_ends() -> None:
    assert place_of(1_001_000, DEEP, NEAR) == 500_000
    assert place_of(201_500, DEEP, NEAR) == 100_000
    assert place_of(1_501, DEEP, NEAR) == 500
    assert place_of(123_456 + 1_500, DEEP, NEAR) == 62_000


def test_those_of_another_priority_are_before_or_behind_all_of_its_own() -> None:
    assert place_of(1_501, replace(DEEP, higher=400), NEAR) == 900
    assert place_of(1_001_000, replace(DEEP, queued=1_000_400, lower=400), NEAR) == 500_000


def test_a_place_is_not_guessed_where_many_of_another_priority_wait() -> None:
    assert place_of(1_001_000, replace(DEEP, higher=500), NEAR) is None
    assert place_of(1_001_000, replace(DEEP, lower=500), NEAR) is None


def test_a_place_near_either_end_is_exact() -> None:
    assert place_of(7, replace(DEEP, ahead=0, ahead_to=None), NEAR) == 1
    assert place_of(7, replace(DEEP, ahead=499, higher=3, lower=500), NEAR) == 503
    assert place_of(7, replace(DEEP, behind=0, behind_to=None), NEAR) == 1_000_000
    assert place_of(7, replace(DEEP, behind=499, lower=2, higher=500), NEAR) == 999_499


async def test_places_stay_right_while_jobs_leave_and_others_overtake(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "NEAR", 4)
    ids = [(await store.accept(new_job(at=later(number)))).job_id for number in range(8)]
    urgent = [(await store.accept(new_job(at=later(9), priority=1))).job_id for _ in range(2)]
    await store.request_cancel(ids.pop(3), later(10))
    found = [(await store.standing_job(job_id))[1] for job_id in [*urgent, *ids]]
    assert found == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    [held] = await store.claim(free(candidate()), later(11))
    assert held.job_id == urgent[0]
    assert (await store.standing_job(ids[-1]))[1] == 8
