"""The client against a server that behaves."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.backends.catalogue import Catalogues, NodeCatalogue
from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.history import DeclaredOutput, chosen_outputs
from orchestrator_mcp.backends.messages import (
    NodeProgressed,
    NodeStarted,
    PreviewReceived,
    PromptFailed,
    PromptFinished,
    PromptStarted,
    PromptSucceeded,
    StatusChanged,
)
from orchestrator_mcp.backends.progress import ProgressMeter
from orchestrator_mcp.errors import ArtifactError, LeaseLostError, PromptRejectedError
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, SandboxServer
from tests.backends.conftest import ClientMaker
from tests.backends.talk import WAIT, downloaded, ended, heard_until_finished, new_id, send, slow_graph
from tests.partners import picture_graph, text_to_image


async def test_a_server_tells_its_version_devices_and_options(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        stats = await client.stats()
    assert stats.version == "0.3.64"
    assert stats.version_tuple == (0, 3, 64)
    assert stats.devices
    assert stats.os


async def test_an_idle_server_has_an_empty_queue(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        assert await client.queue_remaining() == 0
        queue = await client.queue()
    assert queue.running == queue.pending == ()


async def test_the_catalogue_names_classes_and_the_models_they_offer(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        catalogue = await client.object_info()
    assert catalogue.has_class("KSampler")
    assert not catalogue.has_class("NoSuchNode")
    assert "sd15.safetensors" in (catalogue.options("CheckpointLoaderSimple", "ckpt_name") or ())
    assert catalogue.options("LoadImage", "image") is None
    assert catalogue.is_output("SaveImage")


async def test_equal_servers_share_one_catalogue_and_another_has_its_own(make_client: ClientMaker) -> None:
    known = Catalogues()
    async with Sandbox().serve() as one, Sandbox().serve() as other, Sandbox(ODD).serve() as odd:
        with anyio.fail_after(WAIT):
            found = [await asked(make_client(server.port), known) for server in (one, other, odd)]
    assert found[0] is found[1]
    assert found[2] is not found[0]


ODD = SandboxOptions(without=("ImageBlur",))


async def asked(client: ComfyClient, known: Catalogues) -> NodeCatalogue:
    async with client:
        return await client.object_info(known)


async def test_a_picture_is_made_declared_and_fetched_whole(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        entry = await ended(client, await send(client, picture_graph("test/picture")))
        (output,) = chosen_outputs(entry)
        async with client.view(output) as stream:
            content = b"".join([chunk async for chunk in stream.chunks()])
    assert entry.verdict == "succeeded"
    assert entry.expected_outputs == ("3",)
    assert entry.marker == {"job": "j", "attempt": 1}
    assert (output.node_id, output.kind, output.subfolder) == ("3", "image", "test")
    assert entry.started_at_ms is not None
    assert entry.ended_at_ms is not None
    assert entry.started_at_ms <= entry.ended_at_ms
    assert stream.media_type == "image/png"
    assert stream.content_length == len(content)
    assert content.startswith(b"\x89PNG")
    assert content.endswith(b"IEND\xaeB`\x82")


async def test_every_kind_of_output_of_a_graph_is_declared(client: ComfyClient) -> None:
    graph = picture_graph()
    graph["1"]["inputs"]["batch_size"] = 2
    graph["4"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    graph["5"] = {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}}
    graph["6"] = {"class_type": "PreviewAny", "inputs": {"source": ["5", 0]}}
    graph["7"] = {
        "class_type": "SaveAnimatedWEBP",
        "inputs": {
            "images": ["1", 0],
            "filename_prefix": "test/moving",
            "fps": 6.0,
            "lossless": True,
            "quality": 80,
            "method": "fastest",
        },
    }
    with anyio.fail_after(WAIT):
        entry = await ended(client, await send(client, graph))
    by_node = {output.node_id: output for output in entry.outputs}
    assert by_node["4"].temporary
    assert by_node["6"].text == "64"
    assert by_node["7"].animated
    assert {output.node_id for output in chosen_outputs(entry)} == {"3", "6", "7"}


async def test_a_node_that_raises_is_named_with_its_words(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        entry = await ended(client, await send(client, picture_graph("../../escape")))
    assert entry.verdict == "errored"
    assert entry.failure is not None
    assert entry.failure.node_id == "3"
    assert entry.failure.node_type == "SaveImage"
    assert "outside the output folder" in entry.failure.message


async def test_a_graph_without_outputs_is_refused_in_the_servers_words(client: ComfyClient) -> None:
    graph = {"1": picture_graph()["1"]}
    with anyio.fail_after(WAIT), pytest.raises(PromptRejectedError) as refused:
        await send(client, graph)
    assert refused.value.details["type"] == "prompt_no_outputs"
    assert refused.value.missing == ()


async def test_a_missing_class_and_a_missing_model_are_told_apart_from_a_wrong_graph(client: ComfyClient) -> None:
    stranger = {**picture_graph(), "9": {"class_type": "NoSuchNode", "inputs": {}}}
    modelless = text_to_image(checkpoint="nowhere.safetensors")
    with anyio.fail_after(WAIT):
        with pytest.raises(PromptRejectedError) as unknown_class:
            await send(client, stranger)
        with pytest.raises(PromptRejectedError) as unknown_model:
            await send(client, modelless)
    assert [(thing.kind, thing.name, thing.node_id) for thing in unknown_class.value.missing] == [
        ("node", "NoSuchNode", "9")
    ]
    assert [(thing.kind, thing.name, thing.node_id) for thing in unknown_model.value.missing] == [
        ("model", "nowhere.safetensors", "4")
    ]
    assert unknown_model.value.details["node_errors"][0]["errors"][0]["input_name"] == "ckpt_name"


async def test_outputs_that_were_dropped_from_an_accepted_graph_are_told(client: ComfyClient) -> None:
    graph = picture_graph()
    graph["7"] = {"class_type": "SaveImage", "inputs": {"images": ["77", 0], "filename_prefix": "x"}}
    with anyio.fail_after(WAIT):
        submission = await client.submit(graph, prompt_id=new_id(), client_id="c", marker={})
    assert [node["node_id"] for node in submission.node_errors] == ["7"]


async def test_a_queued_prompt_is_found_by_its_id_and_can_be_taken_back(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        running = await send(client, slow_graph())
        first, second = await send(client, picture_graph("a")), await send(client, picture_graph("b"))
        await client.delete_queued(first)
        queue = await client.queue()
        assert await client.cancel_running(running)
        assert (await ended(client, running)).verdict == "interrupted"
        assert (await ended(client, second)).verdict == "succeeded"
        assert await client.history(first) is None
    assert queue.find(first) is None
    found = queue.find(second)
    assert found is not None
    assert found.marker == {"job": "j", "attempt": 1}
    assert found.outputs == ("3",)


async def test_a_forgotten_prompt_leaves_the_history(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        prompt_id = await send(client, picture_graph())
        await ended(client, prompt_id)
        await client.forget(prompt_id)
        assert await client.history(prompt_id) is None


@pytest.mark.parametrize("version", ["0.3.57", "0.3.64", "0.26.0", "0.38.1"])
async def test_cancelling_stops_the_named_prompt_on_servers_that_can_be_told_which(
    version: str, make_client: Any
) -> None:
    with anyio.fail_after(WAIT):
        async with (
            Sandbox(SandboxOptions(comfyui_version=version)).serve() as server,
            make_client(server.port) as client,
        ):
            prompt_id = await send(client, slow_graph())
            assert await client.cancel_running(prompt_id)
            assert (await ended(client, prompt_id)).verdict == "interrupted"


async def test_an_old_server_is_never_told_to_stop_whatever_runs(make_client: Any) -> None:
    with anyio.fail_after(WAIT):
        async with (
            Sandbox(SandboxOptions(comfyui_version="0.3.50")).serve() as server,
            make_client(server.port) as client,
        ):
            foreign = await send(client, slow_graph())
            assert not await client.cancel_running(foreign)
            assert not await client.cancel_running(new_id(), allow_blind=True)
            assert await client.history(foreign) is None
            assert await client.cancel_running(foreign, allow_blind=True)
            assert (await ended(client, foreign)).verdict == "interrupted"


async def test_a_blind_stop_is_withheld_while_another_prompt_waits_behind(make_client: Any) -> None:
    with anyio.fail_after(WAIT):
        async with (
            Sandbox(SandboxOptions(comfyui_version="0.3.50")).serve() as server,
            make_client(server.port) as client,
        ):
            running, behind = await send(client, slow_graph()), await send(client, picture_graph())
            assert not await client.cancel_running(running, allow_blind=True)
            await client.delete_queued(behind)
            assert await client.cancel_running(running, allow_blind=True)


async def test_an_upload_can_be_loaded_under_the_returned_name(client: ComfyClient, tmp_path: Path) -> None:
    content = png_bytes()
    file = tmp_path / "picture.png"
    file.write_bytes(content)
    name = f"{hashlib.sha256(content).hexdigest()}.png"
    with anyio.fail_after(WAIT):
        from_memory = await client.upload(name, content, "image/png")
        from_file = await client.upload(name, file, "image/png")
        other = await client.upload(name, png_bytes(width=3), "image/png")
        graph = picture_graph()
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": from_memory}}
        entry = await ended(client, await send(client, graph))
    assert from_memory == from_file == name
    assert other not in ("", name)
    assert entry.verdict == "succeeded"


async def test_an_unsafe_upload_name_becomes_a_safe_one(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        name = await client.upload('a b"\r\nX: y/../ü.png', b"bytes", "text/plain\r\nX: y")
    assert name == "a_b_X_y_.._.png"


async def test_a_file_that_is_not_there_is_an_artifact_error(client: ComfyClient) -> None:
    lost = DeclaredOutput(
        node_id="1", source_node="1", filename="lost.png", subfolder="", type="output", key="images", kind="image"
    )
    with anyio.fail_after(WAIT), pytest.raises(ArtifactError) as raised:
        await downloaded(client, lost)
    assert raised.value.details["reason"] == "missing"


async def test_a_file_over_the_limit_is_refused_before_its_bytes_are_read(
    sandbox: SandboxServer, make_client: Any
) -> None:
    with anyio.fail_after(WAIT):
        async with make_client(sandbox.port, output_bytes=1024) as client:
            graph = picture_graph(size=1024)
            (output,) = chosen_outputs(await ended(client, await send(client, graph)))
            with pytest.raises(ArtifactError) as raised:
                await downloaded(client, output)
    assert raised.value.details["reason"] == "too_large"


async def test_the_last_look_before_sending_can_stop_a_graph(sandbox: SandboxServer, make_client: Any) -> None:
    def lease_is_lost() -> None:
        raise LeaseLostError("Another orchestrator holds this backend.")

    with anyio.fail_after(WAIT):
        async with make_client(sandbox.port, before_send=lease_is_lost) as client:
            with pytest.raises(LeaseLostError):
                await send(client, picture_graph())
            assert await client.queue_remaining() == 0
            assert (await client.queue()).running == ()


async def test_a_listener_hears_a_prompt_from_start_to_end(client: ComfyClient) -> None:
    graph = text_to_image()
    meter = ProgressMeter(graph)
    with anyio.fail_after(WAIT):
        async with client.listen("ears") as messages:
            prompt_id = await send(client, graph, client_id="ears")
            heard = await heard_until_finished(messages, prompt_id)
        entry = await client.history(prompt_id)
    kinds = [type(message) for message in heard]
    assert kinds.index(PromptStarted) < kinds.index(NodeStarted) < kinds.index(PromptSucceeded)
    assert StatusChanged in kinds
    assert NodeProgressed in kinds
    assert kinds[-1] is PromptFinished
    fractions = [meter.update(message).fraction for message in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert entry is not None
    assert entry.verdict == "succeeded"


async def test_a_listener_hears_why_a_node_failed(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        async with client.listen("ears") as messages:
            prompt_id = await send(client, picture_graph("../../escape"), client_id="ears")
            heard = await heard_until_finished(messages, prompt_id)
    (failed,) = [message for message in heard if isinstance(message, PromptFailed)]
    assert failed.failure.node_id == "3"


async def test_previews_come_with_the_prompt_they_belong_to(make_client: Any) -> None:
    with anyio.fail_after(WAIT):
        async with (
            Sandbox(SandboxOptions(previews=True)).serve() as server,
            make_client(server.port) as client,
            client.listen("ears") as messages,
        ):
            prompt_id = await send(client, text_to_image(), client_id="ears")
            heard = await heard_until_finished(messages, prompt_id)
    previews = [message for message in heard if isinstance(message, PreviewReceived)]
    assert previews
    assert {preview.prompt_id for preview in previews} == {prompt_id}
    assert previews[0].media_type in ("image/jpeg", "image/png")


def png_bytes(width: int = 2) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = io.BytesIO()
    for _ in range(2):
        rows.write(b"\x00" + b"\x80" * width)
    header = struct.pack(">IIBBBBB", width, 2, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.getvalue()))
        + chunk(b"IEND", b"")
    )
