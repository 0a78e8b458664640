"""When the next job of a backend is claimed ahead."""

from __future__ import annotations

import pytest

from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.successors import AHEAD, BEYOND, Window, window


def test_the_last_moments_are_half_a_second_before_the_expected_end_and_a_while_beyond_it() -> None:
    assert window(100.0, Estimate(mean=8.0, deviation=0.2)) == Window(opens=108.0 - AHEAD, closes=108.0 + BEYOND)


def test_of_a_short_render_they_are_its_last_half() -> None:
    found = window(100.0, Estimate(mean=0.5, deviation=0.05))
    assert found is not None and found.opens == pytest.approx(100.25)


@pytest.mark.parametrize("expected", [None, Estimate(mean=600.0, deviation=12.0), Estimate.first(9.0)])
def test_a_render_whose_end_is_not_known_to_some_seconds_has_none(expected: Estimate | None) -> None:
    assert window(100.0, expected) is None
