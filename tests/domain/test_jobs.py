"""Ids, states, lanes and moments."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.jobs import (
    FINAL_STATES,
    JobState,
    job8,
    like_job_ids,
    new_job_id,
    new_job_ids,
    prompt_id_for,
)
from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile, Requirements, lane_key
from orchestrator_mcp.domain.transitions import NEXT, may_follow
from orchestrator_mcp.domain.views import AcceptedView, HealthView
from tests.domain.texts import TEXT

MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))


@given(MOMENTS)
def test_a_job_id_is_a_uuid7_that_carries_its_millisecond(moment: datetime) -> None:
    job_id = new_job_id(moment)
    parsed = uuid.UUID(job_id)
    assert str(parsed) == job_id
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == int(moment.timestamp() * 1000)


@given(MOMENTS, st.integers(1, 10**9))
def test_job_ids_sort_by_time(moment: datetime, milliseconds: int) -> None:
    assert new_job_id(moment) < new_job_id(moment + timedelta(milliseconds=milliseconds, microseconds=1))


def test_job_ids_of_one_millisecond_differ_also_in_the_part_that_folders_carry() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    ids = new_job_ids(moment, 1000)
    assert len(set(ids)) == 1000
    assert ids == sorted(ids), "a batch fills its index from one end"
    assert len({job8(job_id) for job_id in ids}) > 990
    assert job8("019ca945-0a00-78a2-a34d-471b6c4b8790") == "6c4b8790"


ID, OTHER = "01a208c1-f867-70f3-85a8-9fb567ec2c7f", "01a208c1-f867-78cc-92d4-71c1cf9f5fe8"


@pytest.mark.parametrize(
    "asked",
    [
        ID.upper(),
        ID.replace("-", ""),
        f"{{{ID}}}",
        job8(ID),
        f"my_workflow_001__{job8(ID)}",
        ID[:20],
        ID[:-1],
        ID[1:],
        ID.replace("9fb5", "9bf5"),
        ID.replace("9fb5", "9fb"),
        ID.replace("9fb5", "9fbb5"),
    ],
)
def test_an_id_with_a_slip_or_a_part_of_one_is_like_the_id_that_was_meant(asked: str) -> None:
    assert like_job_ids(asked, [OTHER, ID]) == (ID,)


NO_NEAR_ID = f"{ID[:13]}-7000-8000-000000000000"


@pytest.mark.parametrize("asked", ["", "7f", "nope", "a" * 9_000, NO_NEAR_ID])
def test_an_id_of_its_own_is_like_no_other(asked: str) -> None:
    assert like_job_ids(asked, [OTHER, ID]) == ()


def test_of_many_ids_that_begin_alike_the_first_are_told() -> None:
    assert like_job_ids("01a208c1-f867", [OTHER, ID, OTHER, ID]) == (OTHER, ID, OTHER)


def test_a_prompt_id_is_the_same_whenever_it_is_worked_out_and_another_for_each_attempt() -> None:
    job_id = "019ca945-0a00-78a2-a34d-471b6c4b8790"
    first = prompt_id_for(job_id, 1)
    assert first == prompt_id_for(job_id, 1) == str(uuid.UUID(first))
    assert uuid.UUID(first).version == 5
    assert len({first, prompt_id_for(job_id, 2), prompt_id_for(new_job_id(datetime.now(UTC)), 1)}) == 3


def test_nothing_leaves_a_final_state_and_every_state_can_end() -> None:
    assert set(NEXT) == set(JobState)
    for state in JobState:
        if state.final:
            assert not any(may_follow(state, other) for other in JobState)
        else:
            assert may_follow(state, JobState.CANCELLED)
            assert not may_follow(state, state)
    assert {state for state in JobState if may_follow(None, state)} == {JobState.QUEUED, JobState.WAITING}
    assert {state for state in JobState if may_follow(state, JobState.COMPLETED)} == {JobState.RUNNING}
    assert {state for state in JobState if state.final} == FINAL_STATES


def test_a_job_that_waits_for_a_retry_shows_as_queued_and_all_others_as_what_they_are() -> None:
    shown = {state.value: state.status for state in JobState}
    assert shown.pop("waiting") == "queued"
    assert all(status == state for state, status in shown.items())


SPECS = st.builds(
    LaneSpec,
    source=TEXT,
    capabilities=st.frozensets(TEXT, max_size=3),
    pin=st.none() | TEXT,
    avoid=st.frozensets(TEXT, max_size=3),
    model_key=TEXT,
    requirements=st.builds(
        Requirements,
        node_classes=st.frozensets(TEXT, max_size=3),
        models=st.frozensets(st.builds(ModelFile, class_type=TEXT, input=TEXT, name=TEXT), max_size=3),
    ),
)


@given(SPECS)
def test_a_lane_comes_back_from_its_text_as_it_was(spec: LaneSpec) -> None:
    assert LaneSpec.from_json(spec.to_json()) == spec


@given(SPECS, SPECS)
def test_lanes_have_one_key_exactly_when_their_jobs_need_the_same(one: LaneSpec, other: LaneSpec) -> None:
    keys_agree = lane_key(one.to_json()) == lane_key(other.to_json())
    assert keys_agree == (one == other)


def test_avoiding_a_backend_makes_another_lane_once() -> None:
    spec = LaneSpec(pin="a").avoiding("b")
    assert spec.avoid == {"b"}
    assert spec.avoiding("b") == spec
    assert spec.avoiding("c").to_json() == LaneSpec(pin="a").avoiding("c").avoiding("b").to_json()


@pytest.mark.parametrize(
    ("moment", "spelled"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-01-01T21:34:05.000Z"),
    ],
)
def test_every_view_spells_moments_in_utc_with_milliseconds(moment: datetime, spelled: str) -> None:
    view = AcceptedView(job_id="x", submitted_at=moment)
    assert json.loads(view.model_dump_json())["submitted_at"] == spelled
    assert view.model_dump(mode="json")["submitted_at"] == spelled
    assert AcceptedView.model_validate_json(view.model_dump_json()).submitted_at.tzinfo is not None
    assert AcceptedView.model_json_schema()["properties"]["submitted_at"]["format"] == "date-time"


def test_views_cannot_be_changed() -> None:
    view = HealthView(timestamp=datetime(2026, 1, 1, tzinfo=UTC), backends_online=1, version="1")
    with pytest.raises(ValueError, match="frozen"):
        view.backends_online = 2
