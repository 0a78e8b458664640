"""Input files through every door of a whole orchestrator."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from tests.assets.samples import BEGIN, claimed_png, png, sha_of
from tests.doors.three_doors import LOOK, House, Refusal, house


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        yield found


def pixel_of(folder: Path, result: dict[str, Any]) -> Any:
    with Image.open(folder / result["outputs"][0]["name"]) as image:
        return image.getpixel((0, 0))


async def test_an_upload_is_answered_with_its_name_and_kept_once(running: House) -> None:
    first = await running.http.post("/api/assets", content=png(), headers={"content-type": "image/gif"})
    again = await running.http.post("/api/assets", files={"file": ("../../x.exe", png(), "text/html")})
    assert (first.status_code, again.status_code) == (201, 200)
    sha = sha_of(png())
    assert first.json() == again.json()
    assert first.json() == {
        "asset": f"asset:{sha}",
        "sha256": sha,
        "kind": "image",
        "media_type": "image/png",
        "size": len(png()),
        "extension": "png",
        "url": f"{str(running.http.base_url).rstrip('/')}/api/assets/{sha}",
    }
    assert first.headers["location"] == f"/api/assets/{sha}"


async def test_an_upload_is_served_by_the_rules_of_outputs(running: House) -> None:
    sha = (await running.http.post("/api/assets", files={"file": ("a.png", png())})).json()["sha256"]
    whole = await running.http.get(f"/api/assets/{sha}")
    assert whole.content == png()
    assert (whole.headers["etag"], whole.headers["x-content-type-options"]) == (f'"{sha}"', "nosniff")
    assert whole.headers["content-disposition"] == f'inline; filename="{sha}.png"'
    head = await running.http.head(f"/api/assets/{sha}")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(png())))
    part = await running.http.get(f"/api/assets/{sha}", headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    known = await running.http.get(f"/api/assets/{sha}", headers={"if-none-match": f'"{sha}"'})
    assert known.status_code == 304
    for nothing in ("0" * 64, "..%2f..%2fetc%2fpasswd", "x"):
        assert (await running.http.get(f"/api/assets/{nothing}")).status_code == 404


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": png(), "headers": {"content-type": "application/json"}}, 415, "no_file"),
        ({"content": png()}, 415, "no_file"),
        ({"content": png(), "headers": {"content-type": "image/png", "content-encoding": "gzip"}}, 415, "compressed"),
        ({"content": b"", "headers": {"content-type": "image/png"}}, 422, "asset_not_decodable"),
        ({"content": b"<html>", "headers": {"content-type": "image/png"}}, 422, "asset_not_decodable"),
        ({"content": png()[:-9], "headers": {"content-type": "image/png"}}, 422, "asset_not_decodable"),
        ({"files": {"file": ("a.png", claimed_png(50_000, 50_000))}}, 422, "asset_too_large"),
        ({"files": {"image": ("a.png", png())}}, 422, "missing"),
        ({"files": {"file": ("a.png", png())}, "data": {"more": "x"}}, 422, "unknown_name"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
    ],
)
async def test_what_cannot_be_an_input_is_refused(
    running: House, request_: dict[str, Any], status: int, code: str
) -> None:
    response = await running.http.post("/api/assets", **request_)
    answer = response.json()
    told = {answer["code"], *(entry["type"] for entry in answer["detail"] if isinstance(entry, dict))}
    assert (response.status_code, code in told) == (status, True), answer


async def test_an_upload_over_the_limit_is_refused_before_it_is_sent(running: House) -> None:
    url = running.http.base_url
    head = f"POST /api/assets HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Type: image/png\r\n"
    async with await anyio.connect_tcp(url.host, url.port or 80) as stream:
        await stream.send(f"{head}Content-Length: 1000000000\r\n\r\n".encode())
        with anyio.fail_after(10):
            said = await stream.receive()
    assert said.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("door", ["http", "mcp"])
async def test_a_file_in_the_manifest_reaches_the_render_through_this_door(running: House, door: str) -> None:
    value = {"base64": base64.b64encode(png()).decode()}
    job_id = await running.ways[door].hand_in({"workflow": BEGIN, "parameters": {"image": value}})
    assert isinstance(job_id, str)
    job = await running.end_of(job_id)
    folder, result = await running.result_of(job)
    assert pixel_of(folder, result) == (245, 235, 225)
    sha = sha_of(png())
    assert result["inputs"] == [{"target": "1.image", "name": f"{sha}.png", "sha256": sha}]
    assert result["graph"]["1"]["inputs"]["image"] == f"{sha}.png"
    assert result["parameters"] == {"image": f"asset:{sha}"}


@pytest.mark.parametrize("door", ["http", "mcp", "inbox"])
async def test_every_door_says_which_file_cannot_be_had(running: House, door: str) -> None:
    for value in ("/etc/passwd", f"asset:{'0' * 64}", "../../etc/passwd"):
        body = {"workflow": BEGIN, "parameters": {"image": value}}
        refusal = await running.ways[door].hand_in(body, stem=f"shot_{abs(hash(value))}")
        assert isinstance(refusal, Refusal)
        assert "parameters.image" in refusal.words


@pytest.mark.parametrize("name", ["job.json", "manifest.json", "shot_010.json"])
async def test_a_job_folder_brings_its_own_picture(running: House, name: str) -> None:
    inbox = running.folder / "Inbox"
    (inbox / ".coming").mkdir()
    (inbox / ".coming" / "face.png").write_bytes(png())
    body = {"workflow": BEGIN, "parameters": {"image": "face.png"}}
    (inbox / ".coming" / name).write_text(json.dumps(body), encoding="utf-8")
    (inbox / ".coming").rename(inbox / "shot_010")
    [folder] = await running.until(lambda: list((running.folder / "Outbox").glob("shot_010__*")))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "completed"
    assert pixel_of(folder, result) == (245, 235, 225)
    await running.until(lambda: (inbox / "processed" / "shot_010" / "face.png").exists())


async def test_a_picture_beside_the_manifest_that_is_none_fails_the_folder_with_its_reason(running: House) -> None:
    inbox = running.folder / "Inbox"
    (inbox / ".coming").mkdir()
    (inbox / ".coming" / "face.png").write_bytes(b"no picture")
    body = {"workflow": BEGIN, "parameters": {"image": "face.png"}}
    (inbox / ".coming" / "job.json").write_text(json.dumps(body), encoding="utf-8")
    (inbox / ".coming").rename(inbox / "shot_011")
    reason = inbox / "failed" / "shot_011.error.json"
    await running.until(reason.exists)
    told = json.loads(reason.read_text(encoding="utf-8"))
    assert [(problem["path"], problem["code"]) for problem in told["problems"]] == [
        (["parameters", "image"], "asset_not_decodable")
    ]


@pytest.mark.parametrize("form", [False, True])
async def test_an_upload_that_breaks_off_leaves_nothing(running: House, form: bool) -> None:
    content = png() + bytes(4 << 20)  # more than is held in memory
    sent = running.http.build_request("POST", "/api/assets", files={"file": ("a.png", content)})
    body = sent.read() if form else content
    media_type = sent.headers["content-type"] if form else "image/png"
    head = f"POST /api/assets HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def kept() -> list[Path]:
        return [path for path in (running.folder / "data" / "artifacts").rglob("*") if path.is_file()]

    with anyio.fail_after(20):
        for part in (1, 3, 5, 7):
            async with await anyio.connect_tcp("127.0.0.1", running.http.base_url.port or 0) as raw:
                await raw.send(request[: len(request) * part // 8])
                if not form and part > 3:
                    await running.until(kept)
        while kept():  # noqa: ASYNC110 - files cannot set an event
            await anyio.sleep(LOOK)
    assert (await running.http.post("/api/assets", files={"file": ("a.png", png())})).status_code == 201
