from __future__ import annotations

import logging
from typing import Any

import pytest

from orchestrator_mcp.domain.views import ErrorView
from orchestrator_mcp.errors import IdempotencyConflict, ManifestError, NotFoundError, Problem, StorageError
from tests.doors.mcp.asking import connected, refused, told
from tests.doors.mcp.farm import JOB, ServiceDouble


@pytest.fixture
def farm() -> ServiceDouble:
    return ServiceDouble()


async def test_unknown_arguments_are_refused_with_the_allowed_ones(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        text = refused(await client.call_tool("submit_job", {"workflow_id": "w", "promt": "x", "priorty": 1}))
        none = refused(await client.call_tool("list_backends", {"all": True}))
    assert "promt" in text and "Did you mean priority?" in text and "idempotency_key" in text
    assert "inside parameters" in text
    assert "It takes none." in none
    assert farm.submitted == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "list_workflows"),
        ({"workflow_id": "w", "priority": 101}, "priority: should be less than or equal to 100"),
        ({"workflow_id": "w", "parameters": "not an object"}, "parameters: an object in braces {…} is needed"),
        ({"workflow_id": "w\x07"}, "workflow_id: control characters are not allowed"),
        ({"workflow_id": "w", "metadata": {"a": [2**70]}}, "metadata.a.0: is a whole number beyond 64 bits"),
        ({"workflow_id": "w" * 300}, "workflow_id: should have at most 200 characters"),
    ],
)
async def test_a_wrong_manifest_is_refused_in_plain_words(
    farm: ServiceDouble, arguments: dict[str, Any], expected: str
) -> None:
    async with connected(farm) as client:
        text = refused(await client.call_tool("submit_job", arguments))
    assert expected in text
    assert "pydantic" not in text
    assert farm.submitted == []


@pytest.mark.parametrize("seconds", [-1, 46, "soon"])
async def test_a_wait_out_of_range_is_refused(farm: ServiceDouble, seconds: Any) -> None:
    async with connected(farm) as client:
        text = refused(await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": seconds}))
    assert "wait_seconds" in text


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (
            ManifestError(
                [Problem(path=("parameters", "stpes"), message="fits nothing", allowed=("steps", "seed"))],
                hint="Look at the workflow.",
            ),
            ["parameters.stpes: fits nothing (allowed: steps, seed)", "Look at the workflow."],
        ),
        (NotFoundError("workflow", "shoot", known=["shot"]), ["'shoot'", "Did you mean shot?", "list_workflows"]),
        (NotFoundError("backend", "gpu9"), ["gpu9", "list_backends"]),
        (IdempotencyConflict("key", JOB), [JOB, "new key"]),
        (StorageError("The disk is full.", retry_after=30), ["disk is full", "again in 30 s", "idempotency_key"]),
    ],
)
async def test_every_error_says_how_to_mend_the_call(
    farm: ServiceDouble, failure: Exception, expected: list[str]
) -> None:
    farm.failure = failure
    async with connected(farm) as client:
        text = refused(await client.call_tool("submit_job", {"workflow_id": "w"}))
    for part in expected:
        assert part in text


async def test_a_crash_gives_the_model_a_reference_and_the_log_the_traceback(
    farm: ServiceDouble, caplog: pytest.LogCaptureFixture
) -> None:
    farm.failure = KeyError("secret of the inside")
    with caplog.at_level(logging.ERROR, logger="orchestrator_mcp"):
        async with connected(farm) as client:
            text = refused(await client.call_tool("submit_job", {"workflow_id": "w"}))
    assert "secret" not in text
    record = next(record for record in caplog.records if record.name.startswith("orchestrator_mcp"))
    assert record.exc_info is not None and "secret of the inside" in str(record.exc_info[1])
    reference = text.split("reference ")[1].split()[0]
    assert reference in record.getMessage()


async def test_hidden_characters_and_long_texts_of_a_backend_do_not_reach_the_model(farm: ServiceDouble) -> None:
    hostile = "bad\x1b[31m \u202eevil\u200b\U000e0041 " + "x" * 5000
    farm.change(status="failed", error=ErrorView(code="node_failed", message=hostile), node=hostile)
    async with connected(farm) as client:
        status = told(await client.call_tool("job_status", {"job_id": JOB}))
    message = status["error"]["message"]
    assert message.startswith("bad[31m evil xxx")
    assert len(message.encode()) <= 2000
    assert message.endswith("…")
    assert not set(message + status["node"]) & set("\x1b\u202e\u200b\U000e0041")


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("submit_job", {"workflow": "my_workflow_001"}, "the name of a workflow goes into workflow_id"),
        ("submit_job", {"workflow_id": "w", "batch": 3}, 'as {"seed": {"count": 3}} for three seeds'),
        ("job_status", {"job_id": 12345}, "job_id: a job_id as submit_job gave it (a text), or a list of 1 to 50"),
        ("job_status", {"job_id": []}, "not 0 of them"),
        ("job_status", {"job_id": [f"x{number}" for number in range(51)]}, "not 51 of them"),
        ("job_status", {"job_id": "all"}, "list_jobs finds earlier jobs"),
        ("job_status", {"job_id": ["no", "nope"]}, "There is no job 'no'"),
        ("get_preview", {"job_id": ["batch-1", JOB]}, "batch-1 is a batch, which is looked at alone"),
        ("submit", {"workflow_id": "w"}, "Tools are submit_job, job_status"),
    ],
)
async def test_a_mistake_that_models_make_is_told_with_its_mend(
    farm: ServiceDouble, tool: str, arguments: dict[str, Any], expected: str
) -> None:
    async with connected(farm) as client:
        said = refused(await client.call_tool(tool, arguments))
    assert expected in said and "constrained" not in said


async def test_one_text_is_taken_for_a_list_of_one(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        told(await client.call_tool("list_jobs", {"status": "running"}))
        told(await client.call_tool("submit_job", {"workflow_id": "w", "required_capabilities": "flux"}))
    assert farm.listings[0]["status"] == ("running",)
    assert farm.submitted[0].manifest.required_capabilities == ("flux",)


async def test_of_several_ids_one_that_does_not_exist_hides_no_other(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        status = told(await client.call_tool("job_status", {"job_id": [JOB, "nope"]}))
        cancelled = told(await client.call_tool("cancel_job", {"job_id": ["nope", JOB]}))
    assert status["jobs"][0]["status"] == "queued"
    assert "no job 'nope'" in status["jobs"][1]["error"]["message"] and "1 do not exist" in status["next_step"]
    assert "no job 'nope'" in cancelled["jobs"][0]["refused"]
    assert cancelled["jobs"][1] == {"job_id": JOB, "status": "cancelled"}
