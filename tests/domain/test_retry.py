"""What becomes of a job after an attempt."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from orchestrator_mcp.domain.jobs import JobFailure, JobState, Outcome
from orchestrator_mcp.domain.retry import MOST_LOSSES, Again, Ended, Settled, decide

WHY = JobFailure(code="node_error", message="the node raised")


def after(outcome: Outcome, *, elsewhere: bool = False, died: bool = False, **facts: Any) -> Settled | Again:
    ended = Ended(outcome=outcome, reason="because", failure=WHY, elsewhere=elsewhere, died=died)
    limits = {"max_attempts": 3, "retry_delay": 2.0, "retry_delay_max": 60.0}
    return decide(ended, **{"others": True, "charged": 0, "losses": 0, **limits, **facts})


FAILED = Settled(state=JobState.FAILED, failure=WHY)


@pytest.mark.parametrize(
    ("outcome", "facts", "verdict"),
    [
        (Outcome.SUCCEEDED, {}, Settled(state=JobState.COMPLETED)),
        (Outcome.CANCELLED, {}, Settled(state=JobState.CANCELLED)),
        (Outcome.UNKNOWN, {}, Settled(state=JobState.FAILED, failure=WHY, attention=True)),
        (Outcome.REVOKED, {}, Again()),
        (Outcome.REFUSED, {}, Again(delay=2.0)),
        (Outcome.LOST, {}, Again()),
        (Outcome.LOST, {"died": True}, Again()),
        (Outcome.LOST, {"losses": 9}, Again()),
        (Outcome.REJECTED, {}, FAILED),
        (Outcome.REJECTED, {"elsewhere": True}, Again(avoid=True)),
        (Outcome.REJECTED, {"elsewhere": True, "charged": 2}, Again(avoid=True)),
        (Outcome.REJECTED, {"elsewhere": True, "others": False}, FAILED),
        (Outcome.ERRORED, {}, FAILED),
        (Outcome.ERRORED, {"elsewhere": True}, Again(delay=2.0, avoid=True, charge=True)),
        (Outcome.ERRORED, {"elsewhere": True, "others": False}, FAILED),
        (Outcome.ERRORED, {"elsewhere": True, "charged": 2}, FAILED),
        (Outcome.TIMED_OUT, {}, Again(delay=2.0, avoid=True, charge=True)),
        (Outcome.TIMED_OUT, {"others": False}, Again(delay=2.0, charge=True)),
        (Outcome.TIMED_OUT, {"charged": 1}, Again(delay=4.0, avoid=True, charge=True)),
        (Outcome.TIMED_OUT, {"charged": 2}, FAILED),
        (Outcome.TIMED_OUT, {"max_attempts": 1}, FAILED),
    ],
)
def test_each_end_has_its_consequence(outcome: Outcome, facts: dict[str, Any], verdict: Settled | Again) -> None:
    assert after(outcome, **facts) == verdict


def test_a_job_that_two_backends_died_of_is_held_back_for_a_person() -> None:
    verdict = after(Outcome.LOST, died=True, losses=MOST_LOSSES - 1)
    assert isinstance(verdict, Settled)
    assert (verdict.state, verdict.attention) == (JobState.FAILED, True)
    assert verdict.failure is not None
    assert verdict.failure.code == "poison_suspected"
    assert "because" in verdict.failure.message


def test_pauses_double_up_to_the_longest() -> None:
    delays = []
    for charged in range(8):
        verdict = after(Outcome.TIMED_OUT, charged=charged, max_attempts=99)
        assert isinstance(verdict, Again)
        delays.append(verdict.delay)
    assert delays == [2, 4, 8, 16, 32, 60, 60, 60]


def test_losses_of_infrastructure_never_use_up_the_budget_and_every_charged_way_ends() -> None:
    flags = [False, True]
    for outcome, elsewhere, died, others, charged in product(Outcome, flags, flags, flags, range(4)):
        verdict = after(outcome, elsewhere=elsewhere, died=died, others=others, charged=charged)
        if isinstance(verdict, Again):
            assert not (verdict.charge and outcome in (Outcome.LOST, Outcome.REFUSED, Outcome.REVOKED))
            assert not (verdict.charge and charged + 1 >= 3)
        elif verdict.state is JobState.FAILED:
            assert verdict.failure is not None
