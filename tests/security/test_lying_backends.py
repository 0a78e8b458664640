"""A backend that names its files as an attacker would, and hands out whatever is asked for under those names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, SandboxServer, routes_files
from orchestrator_mcp.sandbox.folders import Folders
from tests.security.guarded import PICTURE, Guarded, appeared, guarded
from tests.security.test_paths import is_one_safe_part

PAGE = b"<!doctype html><html><script>alert(1)</script></html>"
NAMES = [
    "../../../x.png",
    "..\\..\\x.png",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "\\\\server\\share\\x.png",
    "CON.png",
    "%2e%2e%2fx.png",
    ".hidden",
    "n" * 250 + ".png",
]
IMPOSSIBLE: list[Any] = [
    "nul\x00.png",
    "\u202egnp.exe",
    "a\nb\x1b[2J.png",
    "",
    7,
    None,
    ["x.png"],
    {"x": 1},
    "n" * 70_000,
]


def named(filename: object, subfolder: object = "", kind: object = "output") -> dict[str, Any]:
    return {"filename": filename, "subfolder": subfolder, "type": kind}


@asynccontextmanager
async def lying(folder: Path, files: Sequence[dict[str, Any]]) -> AsyncIterator[tuple[Guarded, SandboxServer]]:
    """An orchestrator, three folders deep, over one server that says it made these files."""
    home = folder / "studio" / "farm" / "home"
    home.mkdir(parents=True)
    async with Sandbox(SandboxOptions(step_ms=1, load_ms=0, folder=folder / "server")).serve() as server:
        finish = server.queue.finish

        def lie(entry: dict[str, Any], *, forget: bool) -> None:
            entry["outputs"] = {"../2": {"images": [*files]}}
            finish(entry, forget=forget)

        server.queue.finish = lie  # type: ignore[method-assign]
        config = f"backends: [{{id: liar, host: 127.0.0.1, port: {server.port}}}]\n"
        async with guarded(home, config, tokens=False) as farm:
            yield farm, server


def gives(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have the server answer with this file, whatever it is asked for."""

    def find(_folders: Folders, _query: dict[str, str]) -> Path:
        return path

    monkeypatch.setattr(routes_files, "_find", find)


async def rendered(farm: Guarded) -> dict[str, Any]:
    """Submit a picture; the job at its end."""
    async with farm.client() as client:
        job_id = (await client.post("/api/job", json={"workflow": PICTURE})).json()["job_id"]
        await client.get(f"/api/job/{job_id}/events")
        found: dict[str, Any] = (await client.get(f"/api/job/{job_id}")).json()
    return found


async def delivered(farm: Guarded) -> Path:
    """The one folder in Outbox, once it is whole."""
    outbox = farm.folder / "Outbox"
    while not (shown := [path for path in outbox.iterdir() if not path.name.startswith(".")]):
        await appeared(outbox)
    await appeared(shown[0] / "result.json")
    return shown[0]


def strangers(folder: Path) -> list[str]:
    """What lies where nobody should have written."""
    home = folder / "studio" / "farm" / "home"
    ours = {"config.yaml", "data", "logs", "Inbox", "Outbox"}
    places = [(folder, {"studio", "server", "picture.png", "page.png"}), (folder / "studio", {"farm"})]
    places += [(folder / "studio" / "farm", {"home"}), (home, ours)]
    return [str(path) for place, known in places for path in place.iterdir() if path.name not in known]


async def test_files_with_hostile_names_are_fetched_and_kept_under_safe_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [named(name) for name in NAMES]
    files += [named("x.png", "/etc"), named("x.png", "../../.."), named("x.png", "", "../../etc")]
    files += [named(name) for name in IMPOSSIBLE] + [named("x.png", "a\x00b"), named("x.png", 7)]
    picture = tmp_path / "picture.png"
    Image.new("RGB", (8, 8), "teal").save(picture)
    gives(monkeypatch, picture)
    async with lying(tmp_path, files) as (farm, _):
        job = await rendered(farm)
        folder = await delivered(farm)
        result = json.loads((folder / "result.json").read_bytes())
    assert job["status"] == "completed", job["error"]
    names = [output["name"] for output in job["outputs"]]
    assert len(names) == len(NAMES) + 3
    assert all(is_one_safe_part(name) for name in names)
    assert {output["media_type"] for output in job["outputs"]} == {"image/png"}
    assert [warning for warning in job["warnings"] if "cannot be a file name" in warning]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "result.json"])
    assert is_one_safe_part(folder.name)
    assert [output["name"] for output in result["outputs"]] == names
    assert strangers(tmp_path) == []


async def test_files_that_the_server_does_not_give_end_the_job_in_plain_words(tmp_path: Path) -> None:
    async with lying(tmp_path, [named("../../etc/passwd")]) as (farm, _):
        job = await rendered(farm)
        folder = await delivered(farm)
    assert (job["status"], job["error"]["code"], job["outputs"]) == ("failed", "output_invalid", [])
    assert job["error"]["message"].isprintable() and "passwd" in job["error"]["message"]
    assert [path.name for path in folder.iterdir()] == ["result.json"]
    assert strangers(tmp_path) == []


async def test_a_page_that_pretends_to_be_a_picture_is_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.png"
    page.write_bytes(PAGE)
    gives(monkeypatch, page)
    async with lying(tmp_path, [named("card.png")]) as (farm, _):
        job = await rendered(farm)
        folder = await delivered(farm)
    assert (job["status"], job["error"]["code"], job["outputs"]) == ("failed", "output_invalid", [])
    assert [path.name for path in folder.iterdir()] == ["result.json"]


async def test_a_page_that_is_an_output_is_never_shown_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(PAGE)
    gives(monkeypatch, page)
    async with lying(tmp_path, [named("card.html")]) as (farm, _):
        job = await rendered(farm)
        assert job["status"] == "completed", job["error"]
        async with farm.client() as client:
            for output in job["outputs"]:
                answer = await client.get(f"/api/job/{job['job_id']}/outputs/{output['name']}")
                assert not output["media_type"].startswith("image/") and not output["name"].endswith((".png", ".html"))
                assert answer.headers["content-type"].partition(";")[0] not in ("text/html", "image/png")
                assert answer.headers["content-disposition"].startswith("attachment")
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "sandbox" in answer.headers["content-security-policy"]
