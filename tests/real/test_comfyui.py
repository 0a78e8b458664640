"""The client against a real ComfyUI: set COMFYUI_URL, for example http://127.0.0.1:8188. No models are needed."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator

import anyio
import pytest

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.history import chosen_outputs
from orchestrator_mcp.backends.messages import NodeStarted, PromptFinished, PromptStarted, PromptSucceeded
from orchestrator_mcp.errors import ArtifactError, PromptRejectedError
from tests.backends.talk import downloaded, ended, heard_until_finished, send
from tests.partners import picture_graph, text_to_image
from tests.real.graphs import blurred, own_prefix
from tests.real.partner import WAIT, client_of, needs_server, standing

pytestmark = [*needs_server, pytest.mark.usefixtures("keeps_ids")]


@pytest.fixture
async def client() -> AsyncIterator[ComfyClient]:
    async with client_of(standing()) as connected:
        yield connected


async def test_it_says_what_it_is_and_what_it_can_do(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        stats = await client.stats()
        catalogue = await client.object_info()
        assert await client.queue_remaining() >= 0
        await client.queue()
    assert stats.version_tuple
    assert stats.devices
    assert catalogue.has_class("SaveImage")
    assert catalogue.is_output("SaveImage")
    assert catalogue.options("KSampler", "sampler_name")
    assert catalogue.options("LoadImage", "image") is None


async def test_an_image_is_made_heard_of_and_fetched(client: ComfyClient) -> None:
    client_id = uuid.uuid4().hex
    with anyio.fail_after(WAIT):
        async with client.listen(client_id) as messages:
            prompt_id = await send(client, picture_graph(own_prefix()), client_id=client_id)
            heard = await heard_until_finished(messages, prompt_id)
        entry = await ended(client, prompt_id)
        (output,) = chosen_outputs(entry)
        content = await downloaded(client, output)
        await client.forget(prompt_id)
        assert await client.history(prompt_id) is None
    kinds = [type(message) for message in heard]
    assert kinds.index(PromptStarted) < kinds.index(NodeStarted) < kinds.index(PromptSucceeded)
    assert kinds[-1] is PromptFinished
    assert entry.verdict == "succeeded"
    assert entry.marker == {"job": "j", "attempt": 1}
    assert content.startswith(b"\x89PNG")


async def test_several_kinds_of_output_are_declared(client: ComfyClient) -> None:
    graph = picture_graph(own_prefix())
    graph["1"]["inputs"]["batch_size"] = 3
    graph["4"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    graph["5"] = {"class_type": "PreviewAny", "inputs": {"source": ["6", 0]}}
    graph["6"] = {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}}
    with anyio.fail_after(WAIT):
        entry = await ended(client, await send(client, graph))
    assert entry.verdict == "succeeded"
    assert [output.text for output in entry.outputs if output.node_id == "5"] == ["64"]
    assert {output.node_id for output in entry.outputs if output.temporary} == {"4"}
    assert sorted(output.node_id for output in chosen_outputs(entry)) == ["3", "3", "3", "5"]


async def test_a_node_that_raises_is_named(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        entry = await ended(client, await send(client, picture_graph("../../escape")))
    assert entry.verdict == "errored"
    assert entry.failure is not None
    assert entry.failure.node_id == "3"
    assert entry.failure.message


async def test_a_missing_class_and_a_missing_model_are_named(client: ComfyClient) -> None:
    stranger = {**picture_graph(own_prefix()), "9": {"class_type": "NoSuchNodeAnywhere", "inputs": {}}}
    with anyio.fail_after(WAIT):
        with pytest.raises(PromptRejectedError) as unknown_class:
            await send(client, stranger)
        with pytest.raises(PromptRejectedError) as unknown_model:
            await send(client, text_to_image(checkpoint="no-such-model.safetensors"))
    assert [(thing.kind, thing.name) for thing in unknown_class.value.missing] == [("node", "NoSuchNodeAnywhere")]
    assert ("model", "no-such-model.safetensors") in [(thing.kind, thing.name) for thing in unknown_model.value.missing]


async def test_a_wrong_value_is_refused_and_nothing_is_missing(client: ComfyClient) -> None:
    graph = picture_graph(own_prefix())
    graph["1"]["inputs"]["width"] = 0
    with anyio.fail_after(WAIT), pytest.raises(PromptRejectedError) as refused:
        await send(client, graph)
    assert refused.value.missing == ()
    assert refused.value.details["node_errors"][0]["errors"][0]["input_name"] == "width"


async def test_a_running_prompt_is_stopped_and_a_waiting_one_taken_back(client: ComfyClient, can_be_told: None) -> None:
    with anyio.fail_after(WAIT):
        running = await send(client, blurred(64))
        waiting = await send(client, blurred(2))
        await client.delete_queued(waiting)
        assert (await client.queue()).find(waiting) is None
        entry = await client.history(running)
        while entry is None:
            await client.cancel_running(running)
            with anyio.move_on_after(0.5):
                entry = await ended(client, running)
    assert entry.verdict == "interrupted"


async def test_an_uploaded_picture_can_be_loaded(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        (made,) = chosen_outputs(await ended(client, await send(client, picture_graph(own_prefix()))))
        content = await downloaded(client, made)
        name = await client.upload(f"{hashlib.sha256(content).hexdigest()}.png", content, "image/png")
        assert await client.upload(name, content, "image/png") == name
        other = await client.upload(name, content + b"more", "image/png")
        assert other != name
        graph = picture_graph(own_prefix())
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": name}}
        entry = await ended(client, await send(client, graph))
    assert entry.verdict == "succeeded"


async def test_a_file_that_is_not_there_is_missing(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        (made,) = chosen_outputs(await ended(client, await send(client, picture_graph(own_prefix()))))
        absent = type(made)(**{**vars(made), "filename": f"{uuid.uuid4().hex}.png"})
        with pytest.raises(ArtifactError):
            await downloaded(client, absent)
