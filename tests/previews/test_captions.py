"""What tells jobs apart on a sheet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator_mcp.domain.jobs import Door, Job, JobState
from orchestrator_mcp.service.captions import captions

THEN = datetime(2026, 1, 28, 12, 0, tzinfo=UTC)


def job(parameters: dict[str, Any] | None = None, *, number: int = 0, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": f"01997b1e-0000-7000-8000-0000{number:08x}",
        "state": JobState.COMPLETED,
        "workflow_id": "shot",
        "parameters": parameters or {},
        "metadata": {},
        "seeds": {},
        "priority": 0,
        "door": Door.MCP,
        "owner": "local",
        "submitted_at": THEN,
    }
    return Job(**{**values, **changes})


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([job({"steps": 20, "cfg": 7}), job({"steps": 30, "cfg": 7})], ["steps 20", "steps 30"]),
        ([job({"cfg": 6.5}), job({})], ["cfg 6.5", "00000000"]),
        ([job(number=1), job(number=2)], ["00000001", "00000002"]),
        ([job({"seed": -1}, seeds={"3.seed": 5}), job({"seed": -1}, seeds={"3.seed": 9})], ["seed 5", "seed 9"]),
        (
            [job({"6.text": "dusk", "7:text": "a"}), job({"6.text": "dawn", "7:text": "a"})],
            ["text dusk", "text dawn"],
        ),
        (
            [job({"6.text": "dusk", "7.text": "a"}), job({"6.text": "dawn", "7.text": "b"})],
            ["6.text dusk, 7.text a", "6.text dawn, 7.text b"],
        ),
        ([job(workflow_id="one"), job(workflow_id="two")], ["workflow one", "workflow two"]),
        ([job({"size": [1, 2]}), job({"size": {"w": 1}})], ["size [1, 2]", 'size {"w": 1}']),
        ([job({"x": None}), job({"x": True})], ["x None", "x True"]),
        ([], []),
    ],
)
def test_jobs_are_told_apart_by_the_values_that_differ(jobs: list[Job], expected: list[str]) -> None:
    assert captions(jobs) == expected


def test_a_secret_never_stands_on_a_sheet() -> None:
    told = captions([job({"api_key": "sk-one"}), job({"api_key": "sk-two"}), job({"steps": 3})])
    assert not any("sk-" in caption for caption in told)


def test_captions_stay_short_and_visible_whatever_the_values() -> None:
    for value in ("x" * 5000, "a\u202eb\x00\u200b", {"deep": "y" * 5000}):
        first, _ = captions([job({"prompt": value}), job({"prompt": "b"})])
        assert len(first.encode()) < 100 and not set(first) & set("\u202e\x00\u200b")
    many = {f"p{number}": number for number in range(50)}
    first, _ = captions([job(many), job()])
    assert first.count(",") == 5
