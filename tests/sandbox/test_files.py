"""Looking at files and uploading them."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest
from PIL import Image

from orchestrator_mcp.sandbox import SandboxServer
from tests.partners import picture_graph

Post = Callable[..., Awaitable[str]]


def png(colour: int, mode: str = "RGB") -> bytes:
    """Make a small picture."""
    file = io.BytesIO()
    Image.new(mode, (16, 8), (colour, colour, colour, colour)[: len(mode)]).save(file, "PNG")
    return file.getvalue()


async def upload(client: httpx.AsyncClient, name: str, content: bytes, **fields: str) -> httpx.Response:
    """Upload a picture."""
    return await client.post("/upload/image", files={"image": (name, content, "image/png")}, data=fields)


async def test_a_view_can_be_ranged_and_asked_for_changes(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    with anyio.fail_after(10):
        entry = await sandbox.until_ended(await post(picture_graph("x/y")))
        item = entry["outputs"]["3"]["images"][0]
        whole = await client.get("/view", params=item)
        part = await client.get("/view", params=item, headers={"range": "bytes=1-3"})
        same = await client.get("/view", params=item, headers={"if-none-match": whole.headers["etag"]})
        jpeg = await client.get("/view", params={**item, "preview": "jpeg;80"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert part.headers["content-range"] == f"bytes 1-3/{len(whole.content)}"
    assert same.status_code == 304
    assert jpeg.headers["content-type"] == "image/jpeg"
    assert jpeg.content.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"filename": "../secret"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "absent.png"}, 404),
        ({"filename": "example.png", "type": "elsewhere"}, 400),
        ({"filename": "example.png", "subfolder": "../.."}, 403),
        ({"filename": "example.png", "subfolder": "/etc"}, 403),
        ({"filename": "deep/example.png", "type": "input"}, 200),
        ({"filename": "example.png [input]"}, 200),
        ({"filename": "a\x00b"}, 403),
        ({}, 404),
    ],
)
async def test_a_view_stays_inside_its_folder(client: httpx.AsyncClient, query: dict[str, str], status: int) -> None:
    with anyio.fail_after(10):
        assert (await client.get("/view", params=query)).status_code == status


async def test_a_page_among_the_outputs_is_never_served_as_one(
    sandbox: SandboxServer, client: httpx.AsyncClient
) -> None:
    with anyio.fail_after(10):
        await upload(client, "page.html", b"<script>", type="output")
        shown = await client.get("/view", params={"filename": "page.html"})
    assert shown.headers["content-type"] == "application/octet-stream"


async def test_equal_uploads_are_one_file_and_others_get_a_new_name(client: httpx.AsyncClient) -> None:
    with anyio.fail_after(10):
        names = [(await upload(client, "a.png", png(colour))).json()["name"] for colour in (1, 1, 2, 3, 2)]
        over = (await upload(client, "a.png", png(9), overwrite="true")).json()
        seen = await client.get("/view", params={"filename": "a.png", "type": "input"})
    assert names == ["a.png", "a.png", "a (1).png", "a (2).png", "a (1).png"]
    assert over == {"name": "a.png", "subfolder": "", "type": "input"}
    assert seen.content == png(9)


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"subfolder": "../.."}, 400), ({"subfolder": "/etc"}, 400), ({"type": "elsewhere"}, 500)],
)
async def test_an_upload_stays_inside_its_folder(
    client: httpx.AsyncClient, fields: dict[str, str], status: int
) -> None:
    with anyio.fail_after(10):
        assert (await upload(client, "a.png", png(1), **fields)).status_code == status
        assert (await upload(client, "../a.png", png(1))).status_code == 400
        assert (await client.post("/upload/image", files={"wrong": ("a", b"x")})).status_code == 400


async def test_an_uploaded_picture_can_be_loaded_and_an_absent_one_is_refused(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    graph = picture_graph()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": "deep/in.png"}}
    with anyio.fail_after(10):
        refused = (await client.post("/prompt", json={"prompt": graph})).json()
        await upload(client, "in.png", png(10), subfolder="deep")
        entry = await sandbox.until_ended(await post(graph))
        item = entry["outputs"]["3"]["images"][0]
        picture = Image.open(io.BytesIO((await client.get("/view", params=item)).content))
        await upload(client, "in.png", png(20), subfolder="deep", overwrite="1")
        again = await sandbox.until_ended(await post(graph))
    (error,) = refused["node_errors"]["1"]["errors"]
    assert error["type"] == "custom_validation_failed"
    assert error["details"] == "image - Invalid image file: deep/in.png"
    assert picture.getpixel((0, 0)) == (245, 245, 245)
    assert again["outputs"]["3"]["images"][0]["filename"] == "shot_00002_.png"


async def test_a_text_that_calls_itself_a_picture_fails_while_it_runs(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    graph = picture_graph()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": "liar.png"}}
    with anyio.fail_after(10):
        await upload(client, "liar.png", b"just words")
        entry = await sandbox.until_ended(await post(graph))
    assert entry["status"]["messages"][-1][1]["exception_type"] == "PIL.UnidentifiedImageError"


async def test_a_mask_upload_gives_the_original_its_transparency(client: httpx.AsyncClient) -> None:
    with anyio.fail_after(10):
        await upload(client, "original.png", png(50))
        reference = json.dumps({"filename": "original.png", "subfolder": "", "type": "input"})
        answer = await client.post(
            "/upload/mask",
            files={"image": ("masked.png", png(99, "RGBA"), "image/png")},
            data={"original_ref": reference},
        )
        seen = await client.get("/view", params={"filename": answer.json()["name"], "type": "input"})
        missing = await client.post(
            "/upload/mask",
            files={"image": ("none.png", png(1, "RGBA"), "image/png")},
            data={"original_ref": json.dumps({"filename": "gone.png", "type": "input"})},
        )
        nothing = await client.get("/view", params={"filename": "none.png", "type": "input"})
    assert Image.open(io.BytesIO(seen.content)).getpixel((0, 0)) == (50, 50, 50, 99)
    assert (missing.status_code, nothing.status_code) == (200, 404)
