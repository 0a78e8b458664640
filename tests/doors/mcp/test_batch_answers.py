from __future__ import annotations

from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.views import JobView, WaitingView
from orchestrator_mcp.doors.mcp.batch_answers import batch_answer
from tests.doors.mcp.farm import AT, JOB

QUEUED = BatchView(
    batch_id="batch-1",
    status="queued",
    count=3,
    counts={"queued": 3, "running": 0, "completed": 0, "failed": 0, "cancelled": 0},
    progress=0.0,
    workflow_id="w",
    varies=["seed"],
    mode="product",
    submitted_at=AT,
    eta_seconds=90.0,
)


def test_a_batch_that_waits_says_why_and_how_long() -> None:
    why = [WaitingView(backend_id="gpu0", reason="it is offline"), WaitingView(backend_id="gpu1", reason="it is busy")]
    waiting = JobView(
        job_id=JOB, status="queued", workflow_id="w", submitted_at=AT, queue_position=7, waiting_because=why
    )
    told = batch_answer(QUEUED, [], [], waiting=[waiting])
    assert (told.queue_position, told.eta_seconds) == (7, 90.0)
    assert told.waiting_because == ["gpu0: it is offline", "gpu1: it is busy"]
    assert told.next_step == (
        "It waits: gpu0: it is offline; gpu1: it is busy. Call job_status again with wait_seconds 30."
    )


def test_a_batch_of_which_nothing_more_is_known_says_what_to_do() -> None:
    told = batch_answer(QUEUED, [], [])
    assert told.waiting_because == [] and told.next_step == "Call job_status again with wait_seconds 30."
    assert told.poll_after_ms == 5000
