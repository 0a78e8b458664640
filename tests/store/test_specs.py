"""What of a job is fixed at acceptance, as it is written and read again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.store import JobSpec

_NAMES = st.text(alphabet="ab1.:é ", min_size=1, max_size=6)
_TARGETS = st.lists(st.sampled_from(["1.a", "1.b", "2.a", "a.b", "1:2.a"]), min_size=1, max_size=2)


@given(targets=st.dictionaries(_NAMES, _TARGETS), labels=st.sets(_NAMES), elsewhere=st.sets(_NAMES))
def test_a_spec_is_read_as_it_was_written(targets: dict[str, list[str]], labels: set[str], elsewhere: set[str]) -> None:
    parameters = dict.fromkeys((targets.keys() | labels) - elsewhere, 1)
    spec = JobSpec(parameters=parameters, targets=targets)
    assert JobSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("parameters", "targets"),
    [
        ({"seed": 7, "steps": 30}, {"seed": ["3.seed"], "steps": ["3.steps"]}),
        ({"6.text": "a lighthouse", "3.seed": 7}, {"6.text": ["6.text"], "3.seed": ["3.seed"]}),
    ],
)
def test_targets_that_follow_from_the_names_take_no_room(
    parameters: dict[str, object], targets: dict[str, list[str]]
) -> None:
    written = JobSpec(parameters=parameters, targets=targets).to_json()
    assert "targets" not in json.loads(written)
    assert JobSpec.from_json(written).targets == targets


def test_what_does_not_follow_is_written() -> None:
    spec = JobSpec(
        parameters={"seed": 7, "positive": "a lighthouse", "size": 64, "shot": 3},
        targets={"seed": ["3.seed"], "positive": ["6.text"], "size": ["5.width", "5.height"]},
    )
    assert json.loads(spec.to_json())["targets"] == {
        "shot": [],
        "positive": ["6.text"],
        "size": ["5.width", "5.height"],
    }
    assert JobSpec.from_json(spec.to_json()) == spec


def test_a_spec_of_before_is_read_with_all_its_targets() -> None:
    written = '{"parameters":{"seed":7,"shot":3},"targets":{"seed":["3.seed"]}}'
    assert JobSpec.from_json(written).targets == {"seed": ["3.seed"]}
