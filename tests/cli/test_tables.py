"""What people read of jobs and batches on a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from orchestrator_mcp.command.tables import (
    backend_details,
    backend_table,
    job_details,
    job_table,
    local_time,
    prospect,
)
from orchestrator_mcp.domain.views import BackendView, JobView

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def job(**said: Any) -> JobView:
    known = {"job_id": "a", "workflow_id": "w", "status": "queued", "priority": 100, "submitted_at": NOW}
    return JobView.model_validate(known | said)


def shown(what: RenderableType) -> str:
    output = io.StringIO()
    Console(file=output, width=200).print(what)
    return output.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59.5, "1 min 0 s"), (61.0, "1 min 1 s"), (3600.0, "1 h 0 min")]
)
def test_how_long_it_takes_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert prospect(job(eta_seconds=seconds)) == words


def test_what_comes_after_its_deadline_is_said_to_be_too_late() -> None:
    assert prospect(job(eta_seconds=5.0, late=True)) == "5 s, too late"


@pytest.mark.parametrize("said", [{}, {"eta_seconds": 0.0, "status": "completed"}])
def test_where_nothing_is_expected_nothing_is_said(said: dict[str, Any]) -> None:
    assert prospect(job(**said)) == ""


def test_a_job_shows_when_it_will_be_done_in_the_list_and_alone() -> None:
    rendering = job(status="running", stage="rendering", backend_id="big", progress=0.4, eta_seconds=12.0)
    assert "12 s" in shown(job_table([rendering]))
    alone = shown(job_details(rendering))
    assert "rendering on big, 40 % done" in alone and "Done in" in alone and "12 s" in alone


def backend(**said: Any) -> BackendView:
    known = {"id": "a", "name": "a", "host": "h", "port": 1, "online": True, "status": "idle"}
    return BackendView.model_validate(known | said)


def test_a_backend_shows_which_models_are_loaded() -> None:
    assert "sd15.safetensors" in shown(backend_details(backend(warm="sd15.safetensors")))


def block(workflow_id: str, **said: Any) -> dict[str, Any]:
    known = {"signature": "ab12", "failures": 3, "reason": "node 3 raised", "since": NOW, "until": NOW}
    return known | {"workflow_id": workflow_id} | said


def test_a_backend_that_work_avoids_shows_which_work_and_how_that_is_ended() -> None:
    farm = [backend(), backend(id="gpu", blocked=[block("film"), block("film", signature="cd"), block("still")])]
    listed = shown(backend_table(farm))
    assert f"jobs like film, still avoid it until {local_time(NOW)}" in listed
    assert "orchestrator-mcp backends unblock ID" in listed
    alone = shown(backend_details(farm[1]))
    assert "failed 3 times in a row: node 3 raised (signature ab12)" in alone
    assert "orchestrator-mcp backends unblock gpu" in alone


def test_where_nothing_is_blocked_nobody_is_told_how_to_unblock() -> None:
    assert "unblock" not in shown(backend_table([backend()])) + shown(backend_details(backend()))


def waiting(job_id: str, *why: tuple[str, str], **said: Any) -> JobView:
    return job(job_id=job_id, waiting_because=[{"backend_id": one, "reason": reason} for one, reason in why], **said)


def test_a_reason_for_which_many_wait_is_said_once_beneath_the_rows() -> None:
    busy = [("alpha", "it is busy with 1 of ours"), ("beta", "it is busy with 1 of ours")]
    many = [waiting(f"job-{number}", *busy, queue_position=number) for number in range(1, 41)]
    pinned = waiting("pinned", ("gamma", "it is offline"))
    table = shown(job_table([*many, pinned]))
    assert table.count("it is busy with 1 of ours") == 1
    assert "[1] alpha, beta: it is busy with 1 of ours" in table
    assert table.count("[1]") == 41 and "queued, number 40 [1]" in table
    assert "queued (gamma: it is offline)" in table, "what is so of one job alone stands with it"


def test_what_backends_say_alike_of_a_job_is_said_once() -> None:
    farm = [(f"gpu-{number}", "it is offline") for number in range(5)]
    assert "queued (gpu-0, gpu-1, gpu-2 and 2 more: it is offline; big: it is paused)" in shown(
        job_details(waiting("a", *farm, ("big", "it is paused")))
    )
