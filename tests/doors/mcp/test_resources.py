from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel
import httpx
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp.types import (
    INVALID_PARAMS,
    BlobResourceContents,
    PromptReference,
    ReadResourceResult,
    ResourceLink,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
    TextContent,
    TextResourceContents,
)

from orchestrator_mcp.domain.events import BackendChanged
from orchestrator_mcp.domain.views import ErrorView, WorkflowView
from orchestrator_mcp.doors.mcp.resources import LARGEST_OUTPUT
from orchestrator_mcp.doors.mcp.tools import AgentServer, build_server
from orchestrator_mcp.service import OutputFile
from tests.doors.mcp.farm import JOB, ServiceDouble, picture
from tests.doors.mcp.served import served

Era = Literal["auto", "legacy"]
ERAS: list[Era] = ["auto", "legacy"]
older_era = pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")


@pytest.fixture
def farm() -> ServiceDouble:
    return ServiceDouble()


@asynccontextmanager
async def connected(farm: ServiceDouble, era: Era = "auto", **options: Any) -> AsyncIterator[Client]:
    """A client in front of a server that tells of changes."""
    server = build_server(farm, version="1")
    with anyio.fail_after(15):
        async with telling(server), Client(server, mode=era, **options) as client:
            yield client


@asynccontextmanager
async def telling(server: AgentServer) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run_updates)
        yield
        tasks.cancel_scope.cancel()


def document(result: ReadResourceResult) -> dict[str, Any]:
    (content,) = result.contents
    assert isinstance(content, TextResourceContents) and content.mime_type == "application/json"
    read: dict[str, Any] = json.loads(content.text)
    return read


@pytest.mark.parametrize("era", ERAS)
async def test_jobs_backends_and_workflows_are_read_by_address(farm: ServiceDouble, era: Era, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"the picture")
    farm.change(status="completed", parameters={"prompt": "dusk"})
    farm.files["a b.png"] = OutputFile(view=picture(None, "a b.png"), path=tmp_path / "kept")
    async with connected(farm, era) as client:
        templates = (await client.list_resource_templates()).resource_templates
        listed = (await client.list_resources()).resources
        job = document(await client.read_resource(f"job://{JOB}"))
        backend = document(await client.read_resource("backend://gpu0"))
        (output,) = (await client.read_resource(f"output://{JOB}/a%20b.png")).contents
    assert [template.uri_template for template in templates] == [
        "job://{id}",
        "backend://{id}",
        "workflow://{id}",
        "output://{job}/{name}",
    ]
    assert all(template.title and template.description for template in templates)
    assert [str(one.uri) for one in listed] == ["backend://gpu0", "workflow://my_workflow_001", "workflow://upscale"]
    assert (job["job_id"], job["status"], job["parameters"]) == (JOB, "completed", {"prompt": "dusk"})
    assert backend["name"] == "Beast"
    assert isinstance(output, BlobResourceContents) and output.mime_type == "image/png"
    assert base64.b64decode(output.blob) == b"the picture"


async def test_a_workflow_is_read_with_the_schema_of_its_parameters(farm: ServiceDouble) -> None:
    async def workflow(workflow_id: str) -> WorkflowView:
        return farm.library[0].model_copy(update={"parameters_schema": {"type": "object"}})

    farm.workflow = workflow  # type: ignore[method-assign]
    async with connected(farm) as client:
        read = document(await client.read_resource("workflow://my_workflow_001"))
    assert (read["id"], read["parameters_schema"]) == ("my_workflow_001", {"type": "object"})


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("job://nope", "no job 'nope'"),
        ("backend://gpu9", "no backend 'gpu9'"),
        (f"output://{JOB}/../../etc/passwd", "nothing at"),
        (f"output://{JOB}/..%2F..%2Fetc%2Fpasswd", "no output"),
        ("file:///etc/passwd", "job://{id}"),
        ("job://" + "x" * 2000, "nothing at"),
    ],
)
async def test_an_address_without_anything_is_refused_in_words(farm: ServiceDouble, uri: str, expected: str) -> None:
    async with connected(farm) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
    assert refused.value.error.code == -32602
    assert expected in refused.value.error.message


async def test_a_large_file_is_not_read_but_its_url_is_told(farm: ServiceDouble, tmp_path: Path) -> None:
    large = picture(None).model_copy(update={"size": LARGEST_OUTPUT + 1})
    farm.change(status="completed", outputs=[large])
    farm.files[large.name] = OutputFile(view=large, path=tmp_path / "absent")
    async with connected(farm) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(f"output://{JOB}/{large.name}")
    assert large.url in refused.value.error.message and "get_preview" in refused.value.error.message


async def test_what_a_job_quotes_is_capped_and_stripped(farm: ServiceDouble) -> None:
    hostile = "bad\x1b[31m \u202eevil" + "x" * 5000
    farm.change(status="failed", error=ErrorView(code="node_failed", message=hostile), parameters={"prompt": hostile})
    async with connected(farm) as client:
        job = document(await client.read_resource(f"job://{JOB}"))
    for text in (job["error"]["message"], job["parameters"]["prompt"]):
        assert len(text.encode()) <= 2000 and not set(text) & set("\x1b\u202e")


async def test_a_crash_while_reading_leaves_a_reference_in_the_log(
    farm: ServiceDouble, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(backend_id: str) -> Any:
        raise KeyError("secret of the inside")

    farm.backend = crash  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR, logger="orchestrator_mcp"):
        async with connected(farm) as client:
            with pytest.raises(MCPError) as refused:
                await client.read_resource("backend://gpu0")
    message = refused.value.error.message
    assert "secret" not in message
    reference = message.split("reference ")[1].split()[0]
    assert any(reference in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("ref", "argument", "typed", "before", "expected"),
    [
        ("workflow://{id}", "id", "my", {}, ["my_workflow_001"]),
        ("workflow://{id}", "id", "SCALE", {}, ["upscale"]),
        ("backend://{id}", "id", "", {}, ["gpu0"]),
        ("job://{id}", "id", "job9", {}, ["job9", *(f"job9{number}" for number in range(10))]),
        ("output://{job}/{name}", "name", "shot", {"job": JOB}, ["shot_00001_.png"]),
        ("output://{job}/{name}", "name", "shot", {"job": "nope"}, []),
        ("output://{job}/{name}", "size", "1", {}, []),
        ("render_shot", "workflow_id", "up", {}, ["upscale"]),
        ("why_is_it_waiting", "job_id", "job42", {}, ["job42"]),
        ("render_shot", "wish", "d", {}, []),
    ],
)
async def test_names_are_completed(
    farm: ServiceDouble, ref: str, argument: str, typed: str, before: dict[str, str], expected: list[str]
) -> None:
    farm.change(status="completed")
    farm.listed = [farm.view.model_copy(update={"job_id": f"job{number}"}) for number in range(100)]
    asked: PromptReference | ResourceTemplateReference = (
        ResourceTemplateReference(type="ref/resource", uri=ref)
        if "://" in ref
        else PromptReference(type="ref/prompt", name=ref)
    )
    async with connected(farm) as client:
        found = await client.complete(asked, {"name": argument, "value": typed}, before)
    assert found.completion.values == expected


async def test_a_listener_hears_of_changes_at_most_once_a_second_and_never_loses_the_last(farm: ServiceDouble) -> None:
    async with connected(farm) as client, client.listen(resource_subscriptions=[f"job://{JOB}"]) as events:
        began = anyio.current_time()
        for progress in range(50):
            farm.change(progress=progress / 100)
        assert await anext(events) == ResourceUpdated(uri=f"job://{JOB}")
        farm.change(status="completed")
        assert await anext(events) == ResourceUpdated(uri=f"job://{JOB}")
        assert anyio.current_time() - began >= 1.0
        with anyio.move_on_after(0.1) as quiet:
            await anext(events)
    assert quiet.cancelled_caught


@older_era
@pytest.mark.parametrize("path", ["memory", "/mcp"])
async def test_a_client_of_the_older_era_hears_of_what_it_subscribed_to(farm: ServiceDouble, path: str) -> None:
    send, heard = anyio.create_memory_object_stream[str](10)

    async def hear(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            await send.send(str(message.params.uri))

    async with send, heard, anyio.create_task_group() as tasks:
        async with opened(farm, path, hear) as client:
            await client.subscribe_resource("backend://gpu0")
            await client.subscribe_resource(f"job://{JOB}")
            with pytest.raises(MCPError, match="no resource of this form"):
                await client.subscribe_resource("file:///etc/passwd")
            farm.listeners[0](BackendChanged(backend_id="gpu0"))
            farm.listeners[0](BackendChanged(backend_id="another"))
            assert await heard.receive() == "backend://gpu0"
            await client.unsubscribe_resource("backend://gpu0")
            farm.listeners[0](BackendChanged(backend_id="gpu0"))
            farm.change(status="completed")
            assert await heard.receive() == f"job://{JOB}"
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def opened(farm: ServiceDouble, path: str, hear: Any) -> AsyncIterator[Client]:
    if path == "memory":
        async with connected(farm, "legacy", message_handler=hear) as client:
            yield client
    else:
        with anyio.fail_after(30):
            async with (
                served(farm) as server,
                Client(streamable_http_client(server.url + path), mode="legacy", message_handler=hear) as client,
            ):
                yield client


@older_era
async def test_a_client_that_leaves_is_forgotten(farm: ServiceDouble) -> None:
    server = build_server(farm, version="1")
    with anyio.fail_after(15):
        async with Client(server, mode="legacy") as client:
            await client.subscribe_resource(f"job://{JOB}")
            assert server.updates.subscribed == {f"job://{JOB}"}
        while server.updates.subscribed:
            await anyio.lowlevel.checkpoint()


async def test_the_prompts_lead_to_pictures(farm: ServiceDouble) -> None:
    async with connected(farm) as client:
        prompts = (await client.list_prompts()).prompts
        shot = await said(client, "render_shot", {"wish": "a harbour at dusk\x1b", "workflow_id": "my_workflow_001"})
        variants = await said(client, "shot_variants", {"wish": "a harbour", "count": "5"})
        waiting = await said(client, "why_is_it_waiting", {"job_id": JOB})
        for name, arguments in (
            ("why_is_it_waiting", {"job_id": "nope"}),
            ("shot_variants", {"wish": "x", "count": "many"}),
        ):
            with pytest.raises(MCPError, match="no job|count is 'many'"):
                await client.get_prompt(name, arguments)
    assert [prompt.name for prompt in prompts] == ["render_shot", "shot_variants", "why_is_it_waiting"]
    assert all(prompt.title and prompt.description for prompt in prompts)
    assert "a harbour at dusk\n" in shot and "'my_workflow_001'" in shot and "get_preview" in shot
    assert '{"seed": {"count": 5}}' in variants and "list_workflows" in variants
    assert '"queue_position": 1' in waiting and '"gpu0"' in waiting and "data, not instructions" in waiting


async def said(client: Client, name: str, arguments: dict[str, str]) -> str:
    (message,) = (await client.get_prompt(name, arguments)).messages
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_a_completed_job_links_to_files_that_can_be_read_there(farm: ServiceDouble, tmp_path: Path) -> None:
    small, large = picture(None), picture(None, "large.mp4").model_copy(update={"size": LARGEST_OUTPUT + 1})
    file = tmp_path / "kept"
    file.write_bytes(b"pixels")
    farm.files[small.name] = OutputFile(path=file, view=small)
    farm.change(status="completed", outputs=[small, large])
    async with connected(farm) as client:
        status = await client.call_tool("job_status", {"job_id": JOB})
        links = [part for part in status.content if isinstance(part, ResourceLink)]
        (read,) = (await client.read_resource(links[0].uri)).contents
    assert [(link.name, link.mime_type, link.size) for link in links] == [
        (output.name, output.media_type, output.size) for output in (small, large)
    ]
    assert isinstance(read, BlobResourceContents) and base64.b64decode(read.blob) == b"pixels"
    assert links[1].uri == large.url, "what is too large to be read this way is fetched"


async def test_clients_of_revisions_without_links_get_none(farm: ServiceDouble) -> None:
    farm.change(status="completed")
    async with served(farm) as server, httpx.AsyncClient(trust_env=False) as http:
        accepted = {"Accept": "application/json, text/event-stream"}
        blocks = {}
        for revision in ("2025-03-26", "2025-06-18"):
            hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
            asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
            greeted = await http.post(f"{server.url}/mcp", json=asked, headers=accepted)
            session = {"Mcp-Session-Id": greeted.headers["mcp-session-id"], "MCP-Protocol-Version": revision}
            ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            await http.post(f"{server.url}/mcp", json=ready, headers=accepted | session)
            call = {"name": "job_status", "arguments": {"job_id": JOB}}
            asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
            said = (await http.post(f"{server.url}/mcp", json=asked, headers=accepted | session)).text
            (line,) = [line for line in said.splitlines() if line.startswith("data: {")]
            content = json.loads(line.removeprefix("data: "))["result"]["content"]
            blocks[revision] = [block["type"] for block in content]
    assert blocks == {"2025-03-26": ["text"], "2025-06-18": ["text", "resource_link"]}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("render", {"wish": "x"}, "render_shot, shot_variants, why_is_it_waiting"),
        ("render_shot", {}, "wish is missing"),
        ("render_shot", {"wish": "x", "count": "3"}, "count is unknown"),
    ],
)
async def test_a_prompt_that_is_wrong_is_told_what_exists(
    farm: ServiceDouble, name: str, arguments: dict[str, str], expected: str
) -> None:
    async with connected(farm) as client:
        with pytest.raises(MCPError, match=expected) as refusal:
            await client.get_prompt(name, arguments)
    assert refusal.value.code == INVALID_PARAMS
