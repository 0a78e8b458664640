"""How prompts run: cache, file names, failures, interrupts and progress."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image

from orchestrator_mcp.sandbox import SandboxServer
from tests.partners import SandboxFactory, picture_graph, text_to_image
from tests.sandbox.listening import listening

Post = Callable[..., Awaitable[str]]


async def images_of(server: SandboxServer, prompt_id: str, node: str) -> list[dict[str, str]]:
    """Wait for a prompt and list a node's images."""
    entry = await server.until_ended(prompt_id)
    images: list[dict[str, str]] = entry["outputs"][node]["images"]
    return images


async def test_an_identical_graph_is_cached_whole_under_any_ids_and_repeats_the_old_file(
    sandbox: SandboxServer, post: Post
) -> None:
    renamed = json.loads(json.dumps(picture_graph("same")).replace('"1"', '"11"').replace('"3"', '"33"'))
    with anyio.fail_after(10):
        first = await images_of(sandbox, await post(picture_graph("same")), "3")
        async with listening(sandbox, "me") as ear:
            second_id = await post(renamed, client_id="me")
            cached = await ear.until("execution_cached")
            executed = await ear.until("executed")
            await ear.until("executing", node=None)
        second = await images_of(sandbox, second_id, "33")
    assert sorted(cached["nodes"]) == ["11", "2", "33"]
    assert executed["node"] == "33"
    assert first == second


async def test_the_cache_remembers_only_the_previous_prompt(sandbox: SandboxServer, post: Post) -> None:
    with anyio.fail_after(10):
        for prefix, colour in (("a", 1), ("b", 2), ("a", 1)):
            last = await post(picture_graph(prefix, colour=colour))
            await sandbox.until_ended(last)
        images = await images_of(sandbox, last, "3")
    assert images[0]["filename"] == "a_00002_.png"


async def test_another_prefix_runs_only_the_save_node_again(sandbox: SandboxServer, post: Post) -> None:
    with anyio.fail_after(10):
        await sandbox.until_ended(await post(text_to_image(prefix="one")))
        second = await post(text_to_image(prefix="two"))
        await sandbox.until_ended(second)
    line = next(line for line in sandbox.oracle.lines if line.get("event") == "ended" and line["prompt_id"] == second)
    assert (line["nodes_run"], line["nodes_cached"]) == (1, 6)


async def test_free_memory_makes_the_next_prompt_run_whole_again(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    with anyio.fail_after(10):
        await sandbox.until_ended(await post(picture_graph()))
        await client.post("/free", json={"free_memory": True})
        images = await images_of(sandbox, await post(picture_graph()), "3")
        assert (await client.post("/free", content=b"")).status_code == 500
    assert images[0]["filename"] == "shot_00002_.png"


async def test_file_names_have_variables_filled_in_and_count_on(sandbox: SandboxServer, post: Post) -> None:
    graph = picture_graph("deep/er/%width%x%height%-%batch_num%")
    graph["1"]["inputs"]["batch_size"] = 2
    with anyio.fail_after(10):
        images = await images_of(sandbox, await post(graph), "3")
    assert [item["filename"] for item in images] == ["64x64-0_00001_.png", "64x64-1_00002_.png"]
    assert {item["subfolder"] for item in images} == {"deep/er"}


@pytest.mark.parametrize("prefix", ["../../escape", "/etc/escape", "a/../../b"])
async def test_a_prefix_that_leaves_the_folder_fails_and_early_outputs_stay(
    sandbox: SandboxServer, post: Post, prefix: str
) -> None:
    graph = picture_graph("ok") | {
        "8": {"class_type": "SaveImage", "inputs": {"images": ["3x", 0], "filename_prefix": prefix}},
        "3x": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
    }
    with anyio.fail_after(10):
        entry = await sandbox.until_ended(await post(graph))
    event, content = entry["status"]["messages"][-1]
    assert event == "execution_error"
    assert "Saving image outside the output folder is not allowed" in content["exception_message"]
    assert content["exception_type"] == "Exception"
    assert entry["outputs"]["3"]["images"][0]["filename"] == "ok_00001_.png"
    assert not list(sandbox.folders.root.parent.glob("**/*escape*"))


async def test_a_picture_carries_graph_and_workflow_and_equal_graphs_give_equal_bytes(
    sandboxes: SandboxFactory,
) -> None:
    graph = text_to_image(seed=7)
    digests = set()
    with anyio.fail_after(20):
        for _ in range(2):
            server = await sandboxes()
            async with httpx.AsyncClient(base_url=server.url) as client:
                extra: dict[str, Any] = {"extra_pnginfo": {"workflow": {"nodes": []}}}
                answer = await client.post("/prompt", json={"prompt": graph, "extra_data": extra})
                (item,) = await images_of(server, answer.json()["prompt_id"], "9")
                content = (await client.get("/view", params=item)).content
            digests.add(hashlib.sha256(content).hexdigest())
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (128, 128)
        assert json.loads(picture.text["prompt"]) == graph  # type: ignore[attr-defined]
        assert json.loads(picture.text["workflow"]) == {"nodes": []}  # type: ignore[attr-defined]
    assert len(digests) == 1


async def test_another_seed_gives_another_picture_and_a_batch_gives_different_ones(
    sandbox: SandboxServer, post: Post
) -> None:
    with anyio.fail_after(20):
        ids = [await post(text_to_image(seed=seed, batch=2, prefix=f"s{seed}")) for seed in (1, 2)]
        await sandbox.until_ended(ids[-1])
    files = [line["files"] for line in sandbox.oracle.lines if line["event"] == "ended"]
    hashes = [digest for one in files for digest in one.values()]
    assert len(hashes) == 4
    assert len(set(hashes)) == 4


async def test_a_sampler_tells_each_step_and_previews_carry_metadata_only_if_asked(
    sandboxes: SandboxFactory,
) -> None:
    server = await sandboxes(previews=True)
    with anyio.fail_after(20):
        for metadata, kind in ((True, 4), (False, 1)):
            async with listening(server, f"me{kind}", metadata=metadata) as ear:
                body = {"prompt": text_to_image(seed=kind), "client_id": f"me{kind}"}
                async with httpx.AsyncClient(base_url=server.url) as client:
                    await client.post("/prompt", json=body)
                await ear.until("executing", node=None)
            values = [words["data"]["value"] for words in ear.heard if words["type"] == "progress"]
            assert values == [1, 2, 3, 4]
            assert [frame[3] for frame in ear.frames] == [kind] * 4
    assert ear.frames[0][8:10] == b"\xff\xd8"


async def test_an_interrupt_between_steps_stops_the_prompt_and_the_next_one_runs(
    sandboxes: SandboxFactory,
) -> None:
    server = await sandboxes(step_ms=20)
    with anyio.fail_after(20):
        async with listening(server, "me") as ear, httpx.AsyncClient(base_url=server.url) as client:
            body = {"prompt": text_to_image(steps=10_000), "client_id": "me"}
            prompt_id = (await client.post("/prompt", json=body)).json()["prompt_id"]
            await ear.until("progress", value=2)
            await client.post("/interrupt", json={"prompt_id": prompt_id})
            told = await ear.until("execution_interrupted")
            await ear.until("executing", node=None)
            later = (await client.post("/prompt", json={"prompt": picture_graph()})).json()["prompt_id"]
        entry = await server.until_ended(later)
    assert told["node_type"] == "KSampler"
    assert entry["status"]["status_str"] == "success"


async def test_loading_another_model_takes_time_once(sandboxes: SandboxFactory) -> None:
    server = await sandboxes(load_ms=1)
    with anyio.fail_after(20):
        async with httpx.AsyncClient(base_url=server.url) as client:
            for number, name in enumerate(["sd15", "sd15", "sdxl", "sd15"]):
                graph = text_to_image(seed=number, checkpoint=f"{name}.safetensors")
                prompt_id = (await client.post("/prompt", json={"prompt": graph})).json()["prompt_id"]
                await server.until_ended(prompt_id)
                await client.post("/history", json={"clear": True})
    assert [line["loads"] for line in server.oracle.lines if line["event"] == "ended"] == [1, 0, 1, 1]


async def test_the_oracle_file_holds_whole_lines_with_marker_times_and_hashes(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    oracle = tmp_path / "oracle.jsonl"
    server = await sandboxes(oracle=oracle)
    body = {"prompt": picture_graph(), "client_id": "me", "extra_data": {"orch": {"job": "j1"}}}
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            answer = (await client.post("/prompt", json=body)).json()
            (item,) = await images_of(server, answer["prompt_id"], "3")
            content = (await client.get("/view", params=item)).content
    accepted, ended = [json.loads(line) for line in oracle.read_text().splitlines()]
    assert (accepted["event"], accepted["marker"]) == ("accepted", {"orch": {"job": "j1"}})
    assert ended["outcome"] == "success"
    assert ended["port"] == server.port
    assert accepted["at"] <= ended["started"] <= ended["ended"]
    assert ended["files"] == {"output/shot_00001_.png": hashlib.sha256(content).hexdigest()}


def chain(**nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Write a graph down in short."""
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


async def test_the_picture_nodes_really_work(sandbox: SandboxServer, client: httpx.AsyncClient, post: Post) -> None:
    graph = chain(
        load=("LoadImage", {"image": "example.png"}),
        crop=("ImageCrop", {"image": ["load", 0], "width": 100, "height": 80, "x": 10, "y": 20}),
        scale=(
            "ImageScale",
            {"image": ["crop", 0], "upscale_method": "lanczos", "width": 50, "height": 0, "crop": "disabled"},
        ),
        twice=("ImageScaleBy", {"image": ["scale", 0], "upscale_method": "area", "scale_by": 2.0}),
        blur=("ImageBlur", {"image": ["twice", 0], "blur_radius": 2, "sigma": 1.0}),
        solid=("SolidMask", {"value": 0.5, "width": 32, "height": 32}),
        grey=("MaskToImage", {"mask": ["solid", 0]}),
        both=("ImageBatch", {"image1": ["blur", 0], "image2": ["grey", 0]}),
        more=("RepeatImageBatch", {"image": ["both", 0], "amount": 2}),
        some=("ImageFromBatch", {"image": ["more", 0], "batch_index": 1, "length": 2}),
        red=("ImageToMask", {"image": ["some", 0], "channel": "red"}),
        shown=("MaskToImage", {"mask": ["red", 0]}),
        size=("GetImageSize", {"image": ["shown", 0]}),
        text=("PreviewAny", {"source": ["size", 1]}),
        what=("PreviewAny", {"source": ["some", 0]}),
        saved=("SaveImage", {"images": ["shown", 0], "filename_prefix": "w"}),
        film=(
            "SaveAnimatedWEBP",
            {
                "images": ["some", 0],
                "filename_prefix": "f",
                "fps": 6.0,
                "lossless": True,
                "quality": 80,
                "method": "fastest",
            },
        ),
    )
    with anyio.fail_after(20):
        entry = await sandbox.until_ended(await post(graph))
        saved = entry["outputs"]["saved"]["images"]
        picture = Image.open(io.BytesIO((await client.get("/view", params=saved[0])).content))
        film = Image.open(io.BytesIO((await client.get("/view", params=entry["outputs"]["film"]["images"][0])).content))
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert entry["outputs"]["text"] == {"text": ["80"]}
    assert entry["outputs"]["what"] == {"text": ["2 x RGB 100x80"]}
    assert entry["outputs"]["film"]["animated"] == [True]
    assert (len(saved), picture.size, picture.getpixel((5, 5))) == (2, (100, 80), (128, 128, 128))
    assert getattr(film, "n_frames", 0) == 2


async def test_image_to_image_keeps_the_size_and_an_unsampled_latent_gives_its_pixels_back(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    graph = text_to_image() | chain(
        a=("EmptyImage", {"width": 200, "height": 120, "batch_size": 1, "color": 0x102030}),
        b=("VAEEncode", {"pixels": ["a", 0], "vae": ["4", 2]}),
        c=("VAEDecode", {"samples": ["b", 0], "vae": ["4", 2]}),
        d=("PreviewImage", {"images": ["c", 0]}),
    )
    graph["3"]["inputs"] |= {"latent_image": ["b", 0], "denoise": 0.5}
    with anyio.fail_after(20):
        entry = await sandbox.until_ended(await post(graph))
        pictures = [
            Image.open(io.BytesIO((await client.get("/view", params=entry["outputs"][node]["images"][0])).content))
            for node in ("9", "d")
        ]
    assert [picture.size for picture in pictures] == [(200, 120), (200, 120)]
    assert pictures[1].getpixel((0, 0)) == (0x10, 0x20, 0x30)
    assert entry["outputs"]["d"]["images"][0]["type"] == "temp"


async def test_a_batch_too_large_for_memory_fails_as_an_allocator_does(sandbox: SandboxServer, post: Post) -> None:
    graph = picture_graph()
    graph["1"]["inputs"] |= {"width": 16384, "height": 16384, "batch_size": 4096}
    with anyio.fail_after(10):
        entry = await sandbox.until_ended(await post(graph))
    content = entry["status"]["messages"][-1][1]
    assert content["exception_type"] == "RuntimeError"
    assert "can't allocate memory" in content["exception_message"]


async def test_a_graph_of_separate_loaders_loras_and_two_samplers_renders(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    sampler = {
        "noise_seed": 5,
        "steps": 6,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "model": ["lora", 0],
        "positive": ["text", 0],
        "negative": ["text", 0],
    }
    first = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 4, "return_with_leftover_noise": "enable"}
    second = {"add_noise": "disable", "start_at_step": 4, "end_at_step": 10000, "return_with_leftover_noise": "disable"}
    strengths = {"strength_model": 0.8, "strength_clip": 1}
    graph = chain(
        unet=("UNETLoader", {"unet_name": "flux1-dev.safetensors", "weight_dtype": "default"}),
        clip=(
            "DualCLIPLoader",
            {"clip_name1": "clip_l.safetensors", "clip_name2": "t5xxl_fp16.safetensors", "type": "flux"},
        ),
        lone=("CLIPLoader", {"clip_name": "clip_l.safetensors", "type": "sd3"}),
        vae=("VAELoader", {"vae_name": "ae.safetensors"}),
        lora=(
            "LoraLoader",
            {"model": ["unet", 0], "clip": ["clip", 0], "lora_name": "line-art.safetensors", **strengths},
        ),
        text=("CLIPTextEncode", {"text": "a harbour", "clip": ["lora", 1]}),
        latent=("EmptySD3LatentImage", {"width": 320, "height": 192, "batch_size": 1}),
        one=("KSamplerAdvanced", {**sampler, **first, "latent_image": ["latent", 0]}),
        two=("KSamplerAdvanced", {**sampler, **second, "latent_image": ["one", 0]}),
        decoded=("VAEDecode", {"samples": ["two", 0], "vae": ["vae", 0]}),
        saved=("SaveImage", {"images": ["decoded", 0], "filename_prefix": "flux"}),
    )
    with anyio.fail_after(20):
        async with listening(sandbox, "me") as ear:
            prompt_id = await post(graph, client_id="me")
            await ear.until("executing", node=None)
        (item,) = await images_of(sandbox, prompt_id, "saved")
        picture = Image.open(io.BytesIO((await client.get("/view", params=item)).content))
    steps = [(words["data"]["node"], words["data"]["max"]) for words in ear.heard if words["type"] == "progress"]
    assert steps == [("one", 4)] * 4 + [("two", 2)] * 2
    assert picture.size == (320, 192)


async def test_loaded_masks_and_channels_are_what_the_file_holds(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (10, 20, 30, 55)).save(file, "PNG")
    graph = chain(
        a=("LoadImage", {"image": "clear.png"}),
        b=("LoadImageMask", {"image": "clear.png", "channel": "green"}),
        c=("LoadImageMask", {"image": "clear.png", "channel": "alpha"}),
        am=("MaskToImage", {"mask": ["a", 1]}),
        bm=("MaskToImage", {"mask": ["b", 0]}),
        cm=("MaskToImage", {"mask": ["c", 0]}),
        all=("ImageBatch", {"image1": ["am", 0], "image2": ["bm", 0]}),
        every=("ImageBatch", {"image1": ["all", 0], "image2": ["cm", 0]}),
        saved=("SaveImage", {"images": ["every", 0], "filename_prefix": "m"}),
    )
    with anyio.fail_after(20):
        await client.post("/upload/image", files={"image": ("clear.png", file.getvalue(), "image/png")})
        items = await images_of(sandbox, await post(graph), "saved")
        values = [
            Image.open(io.BytesIO((await client.get("/view", params=item)).content)).getpixel((0, 0)) for item in items
        ]
    assert values == [(200, 200, 200), (20, 20, 20), (200, 200, 200)]
