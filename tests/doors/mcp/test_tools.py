from __future__ import annotations

import json
from typing import Any, Literal

import anyio
import pytest
from mcp import Client

from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.views import BackendView, ErrorView, OutputView, ParameterView, WaitingView, WorkflowView
from orchestrator_mcp.doors.mcp.tools import build_server
from tests.doors.mcp.asking import connected, refused, told, words
from tests.doors.mcp.farm import JOB, ServiceDouble, picture

TOKEN_BUDGET = 2000


@pytest.fixture
def farm() -> ServiceDouble:
    return ServiceDouble()


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_job_goes_from_submission_to_its_files_in_either_era(
    farm: ServiceDouble, era: Literal["auto", "legacy"]
) -> None:
    async with connected(farm, era) as client:
        accepted = told(
            await client.call_tool(
                "submit_job",
                {
                    "workflow_id": "my_workflow_001",
                    "parameters": {"prompt": "dusk", "6.text": "x"},
                    "metadata": {"shot": "010", "note": None},
                    "priority": 5,
                    "backend_affinity": "gpu0",
                    "required_capabilities": ["Flux"],
                    "idempotency_key": "one",
                },
            )
        )
        assert accepted["job_id"] == JOB
        assert JOB in accepted["next_step"]
        farm.change(status="completed", progress=1.0)
        status = told(await client.call_tool("job_status", {"job_id": JOB}))
    wanted = farm.submitted[0]
    manifest = wanted.manifest
    assert (wanted.door, wanted.by.name) == (Door.MCP, "anonymous")
    assert manifest.parameters == {"prompt": "dusk", "6.text": "x"}
    assert manifest.metadata == {"shot": "010", "note": None}
    assert (manifest.priority, manifest.backend_affinity, manifest.idempotency_key) == (5, "gpu0", "one")
    assert manifest.required_capabilities == ("flux",)
    assert status["status"] == "completed"
    assert status["outputs"] == [
        {
            "name": "shot_00001_.png",
            "url": f"http://configured/api/job/{JOB}/outputs/shot_00001_.png",
            "path": "/farm/Outbox/shot__0000abcd/shot_00001_.png",
            "media_type": "image/png",
            "size": 1234,
            "kind": "image",
        }
    ]
    assert "poll_after_ms" not in status


async def test_waiting_tells_growing_progress_and_returns_when_the_job_ends(farm: ServiceDouble) -> None:
    heard: list[float] = []
    messages: list[str | None] = []
    first = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        messages.append(message)
        assert total == 1.0
        first.set()

    async def render() -> None:
        await farm.watched.wait()
        farm.change(status="running", stage="rendering", progress=0.5, backend_id="gpu0")
        await first.wait()
        farm.change(progress=0.2)
        farm.change(status="completed", progress=1.0)

    async with connected(farm) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(render)
        answer = await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 45}, progress_callback=hear)
    assert told(answer)["status"] == "completed"
    assert heard == [0.5]
    assert messages == ["rendering on gpu0"]


async def test_waiting_for_a_job_that_has_ended_returns_at_once(farm: ServiceDouble) -> None:
    farm.change(status="failed", error=ErrorView(code="node_failed", message="no", hint="Mend it."))
    async with connected(farm) as client:
        status = told(await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 45}))
    assert status["error"] == {"code": "node_failed", "message": "no", "hint": "Mend it."}
    assert status["next_step"].startswith("Mend it.")


async def test_a_wait_that_ends_first_returns_the_present_state_and_its_reasons(farm: ServiceDouble) -> None:
    farm.change(waiting_because=[WaitingView(backend_id="gpu0", reason="it is offline")], eta_seconds=10.0)
    async with connected(farm) as client:
        status = told(await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 0.05}))
    assert (status["status"], status["queue_position"]) == ("queued", 1)
    assert status["waiting_because"] == ["gpu0: it is offline"]
    assert status["poll_after_ms"] == 5000
    assert "job_status" in status["next_step"]


async def test_a_stop_of_the_server_ends_the_wait_with_an_answer(farm: ServiceDouble) -> None:
    server = build_server(farm, version="1")

    async def stop() -> None:
        await farm.watched.wait()
        server.calls.close()
        await server.calls.drained()

    with anyio.fail_after(10):
        async with Client(server) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            status = told(await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 45}))
            again = told(await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 45}))
    assert status["status"] == again["status"] == "queued"


async def test_the_inputs_of_a_job_are_not_repeated_to_the_model(farm: ServiceDouble) -> None:
    farm.change(parameters={"prompt": "a very long prompt"}, metadata={"shot": "010"})
    async with connected(farm) as client:
        status = told(await client.call_tool("job_status", {"job_id": JOB}))
    assert "very long prompt" not in json.dumps(status)
    assert not {"parameters", "metadata"} & set(status)


@pytest.mark.parametrize(
    ("outputs", "sandbox", "expected"),
    [
        ([picture(None)], False, "Open each output by its path"),
        ([picture(None).model_copy(update={"path": None})], False, "Fetch each output by its url"),
        ([picture(None)], True, "test slates"),
    ],
)
async def test_a_completed_job_says_how_to_look_at_its_files(
    farm: ServiceDouble, outputs: list[OutputView], sandbox: bool, expected: str
) -> None:
    farm.change(status="completed", outputs=outputs, sandbox=sandbox)
    async with connected(farm) as client:
        status = told(await client.call_tool("job_status", {"job_id": JOB}))
    assert expected in status["next_step"]


async def test_cancelling_says_how_far_it_has_come_and_refuses_what_has_ended(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        assert told(await client.call_tool("cancel_job", {"job_id": JOB}))["status"] == "cancelled"
        farm.change(status="completed")
        text = refused(await client.call_tool("cancel_job", {"job_id": JOB}))
    assert "already completed" in text


async def test_several_jobs_are_shown_side_by_side_and_waited_for_together(farm: ServiceDouble) -> None:
    async def render() -> None:
        await farm.watched.wait()
        farm.change(status="completed", progress=1.0)

    async with connected(farm) as client:
        before = told(await client.call_tool("job_status", {"job_id": [JOB]}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(render)
            after = told(await client.call_tool("job_status", {"job_id": [JOB, JOB], "wait_seconds": 45}))
    assert [one["status"] for one in before["jobs"]] == ["queued"]
    assert before["poll_after_ms"] == 4000 and "0 of 1 have ended" in before["next_step"]
    assert [one["job_id"] for one in after["jobs"]] == [JOB], "the same id counts once"
    assert after["jobs"][0]["outputs"][0]["name"] == "shot_00001_.png"
    assert "poll_after_ms" not in after and "get_preview" in after["next_step"]


async def test_of_many_jobs_those_that_do_not_fit_are_told_in_short(farm: ServiceDouble) -> None:
    farm.change(status="failed", error=ErrorView(code="node_failed", message="x" * 1900))
    farm.any_job = True
    async with connected(farm) as client:
        result = await client.call_tool("job_status", {"job_id": [f"job{number}" for number in range(50)]})
    assert len(words(result).encode()) < 20_000
    jobs = told(result)["jobs"]
    assert len(jobs) == 50 and "error" in jobs[0] and jobs[-1]["status"] == "failed"
    assert "error" not in jobs[-1] and "alone" in jobs[-1]["left_out"]


async def test_several_jobs_are_cancelled_together_and_those_that_ended_say_so(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        both = told(await client.call_tool("cancel_job", {"job_id": [JOB]}))
        farm.change(status="completed")
        late = told(await client.call_tool("cancel_job", {"job_id": [JOB]}))
    assert both["jobs"] == [{"job_id": JOB, "status": "cancelled"}]
    assert "already completed" in late["jobs"][0]["refused"] and "1 of 1 were refused" in late["next_step"]


async def test_jobs_are_listed_page_by_page_with_every_filter(farm: ServiceDouble) -> None:
    many = {"shot": "010", "take": 3, "note": "y" * 79, "deep": {"left": "out"}}
    farm.listed = [
        farm.view.model_copy(update={"job_id": f"job{number}", "metadata": many, "outputs": [picture(None)]})
        for number in range(100)
    ]
    filters = {"status": ["queued", "failed"], "workflow_id": "w", "backend_id": "b", "batch_id": "batch-1"}
    async with connected(farm) as client:
        result = await client.call_tool("list_jobs", {**filters, "limit": 50})
        page = told(result)
        cursor: str | None = page["next_cursor"]
        rest: list[dict[str, Any]] = []
        while cursor:
            following = told(await client.call_tool("list_jobs", {"cursor": cursor}))
            rest, cursor = [*rest, *following["jobs"]], following.get("next_cursor")
        wrong = refused(await client.call_tool("list_jobs", {"status": ["done"]}))
    assert len(words(result).encode()) < 20_000
    assert [line["job_id"] for line in [*page["jobs"], *rest]] == [f"job{number}" for number in range(100)]
    assert {name: farm.listings[0][name] for name in filters} == {**filters, "status": ("queued", "failed")}
    first = page["jobs"][0]
    assert first["metadata"] == {"shot": "010", "take": 3, "note": "y" * 79}
    assert (first["status"], first["outputs"], first["submitted_at"]) == ("queued", 1, "2026-01-02T03:04:05.000Z")
    assert "cursor" in page["next_step"] and "status.0" in wrong


async def test_a_machine_tells_its_memory_its_models_and_the_work_of_others(farm: ServiceDouble) -> None:
    card = {"name": "RTX 4090\x1b[31m", "vram_total": 24 * 2**30, "vram_free": 6 * 2**30}
    known = {"capabilities": ["flux"], "foreign": 2, "warm": "flux1-dev.safetensors", "devices": [card, {}]}
    farm.farm = [farm.farm[0].model_copy(update=known)]
    async with connected(farm) as client:
        (line,) = told(await client.call_tool("list_backends", {}))["backends"]
    assert (line["capabilities"], line["foreign"], line["warm"]) == (["flux"], 2, "flux1-dev.safetensors")
    assert line["device"] == "RTX 4090[31m, 6.0 of 24.0 GiB free, and 1 more"


async def test_the_farm_and_its_library_are_listed_with_what_to_do_next(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        machines = told(await client.call_tool("list_backends", {}))
        library = told(await client.call_tool("list_workflows", {}))
        found = told(await client.call_tool("list_workflows", {"search": "ksampler PROMPT"}))
        nothing = told(await client.call_tool("list_workflows", {"search": "nonsense"}))
    assert machines["backends"][0] == {
        "id": "gpu0",
        "name": "Beast",
        "status": "idle",
        "running": 0,
        "slots": 1,
    }
    assert (machines["online"], machines["total"]) == (1, 1)
    assert [entry["id"] for entry in library["workflows"]] == ["my_workflow_001", "upscale"]
    assert library["workflows"][0]["parameters_schema"] == {
        "type": "object",
        "properties": {"prompt": {"type": "string", "default": "a cat"}},
    }
    assert [entry["id"] for entry in found["workflows"]] == ["my_workflow_001"]
    assert nothing["total"] == 0
    assert "without search" in nothing["next_step"]


async def test_a_workflow_with_many_parameters_and_choices_leaves_room_for_others(farm: ServiceDouble) -> None:
    many = [
        ParameterView(name=f"p{number}", type="string", description="x" * 500, default="y" * 500)
        for number in range(500)
    ]
    wide = ParameterView(name="model", type="choice", choices=[f"model{number}" for number in range(900)])
    some = ParameterView(name="sampler", type="choice", choices=["euler", "ddim"], default="euler")
    asked = ParameterView(name="look", type="string", required=True)
    steps = ParameterView(name="steps", type="integer", minimum=1, maximum=50, default=20)
    farm.library = [
        WorkflowView(id="a", parameters=many),
        WorkflowView(id="b", parameters=[wide, some, steps, asked], tags=["people"]),
    ]
    async with connected(farm) as client:
        result = await client.call_tool("list_workflows", {})
        tagged = told(await client.call_tool("list_workflows", {"search": "people"}))
    assert len(words(result).encode()) < 20_000
    first, second = (line["parameters_schema"] for line in told(result)["workflows"])
    assert "more are left out" in first["description"]
    assert second["required"] == ["look"]
    assert second["properties"]["steps"] == {"type": "integer", "minimum": 1, "maximum": 50, "default": 20}
    assert second["properties"]["sampler"] == {"enum": ["euler", "ddim"], "default": "euler"}
    assert "One of 900, such as model0, model1" in second["properties"]["model"]["description"]
    assert [line["id"] for line in tagged["workflows"]] == ["b"]


async def test_a_large_farm_is_told_in_part_and_says_so(farm: ServiceDouble) -> None:
    farm.farm = [
        BackendView(id=f"node{number}", name="x" * 200, host="h", port=1, reason="y" * 400) for number in range(500)
    ]
    farm.library = [WorkflowView(id=f"w{number}", title="z" * 300) for number in range(500)]
    farm.change(status="completed", outputs=[picture(None, f"{number:04}.png") for number in range(500)])
    async with connected(farm) as client:
        machines = await client.call_tool("list_backends", {})
        library = await client.call_tool("list_workflows", {})
        status = await client.call_tool("job_status", {"job_id": JOB})
    for result in (machines, library, status):
        assert len(words(result).encode()) < 20_000
    assert told(machines)["total"] == told(library)["total"] == 500
    assert "more are left out" in told(machines)["next_step"]
    assert "narrow the search" in told(library)["next_step"]
    assert "more lie beside them" in told(status)["next_step"]


async def test_the_list_of_tools_is_small_ordered_and_complete(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        listed = await client.list_tools()
        assert client.instructions is not None
        for word in ("render", "image", "video", "ComfyUI", "GPU"):
            assert word.casefold() in client.instructions.casefold()
    tools = listed.tools
    assert [tool.name for tool in tools] == [
        "submit_job",
        "job_status",
        "list_backends",
        "cancel_job",
        "list_workflows",
        "get_preview",
        "list_jobs",
    ]
    wire = len(json.dumps([tool.model_dump(by_alias=True, exclude_none=True) for tool in tools], separators=(",", ":")))
    assert wire / 4 <= TOKEN_BUDGET
    for tool in tools:
        assert tool.title and tool.annotations is not None
        assert (tool.output_schema is None) == (tool.name == "get_preview"), "pictures are content, not structure"
        assert tool.description is not None and tool.description.count(". ") >= 2
        assert tool.input_schema["additionalProperties"] is False
        assert all("description" in part for part in tool.input_schema["properties"].values())
    hints = {tool.name: tool.annotations for tool in tools if tool.annotations is not None}
    assert [name for name, hint in hints.items() if hint.read_only_hint] == [
        "job_status",
        "list_backends",
        "list_workflows",
        "get_preview",
        "list_jobs",
    ]
    assert hints["cancel_job"].destructive_hint is True
    assert hints["submit_job"].destructive_hint is False
