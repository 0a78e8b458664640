"""The library over real folders: live, hostile names are nothing, broken files say why."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.domain.views import WorkflowView
from orchestrator_mcp.errors import ManifestError, NotFoundError
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows import library_files as module
from orchestrator_mcp.workflows.library import WorkflowLibrary
from tests.workflows.graphs import sampler, text_to_image

SHIPPED = Path(__file__).parents[2] / "workflows"


def write(path: Path, graph: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(text_to_image() if graph is None else graph), encoding="utf-8")
    return path


def library(*folders: Path, **limits: int) -> WorkflowLibrary:
    return WorkflowLibrary(folders, lambda: LimitSettings(**limits))


async def listed(one: WorkflowLibrary) -> dict[str, WorkflowView]:
    with anyio.fail_after(10):
        return {view.id: view for view in await one.list()}


async def unknown(one: WorkflowLibrary, workflow_id: str) -> NotFoundError:
    with anyio.fail_after(10), pytest.raises(NotFoundError) as caught:
        await one.get(workflow_id)
    return caught.value


async def test_the_shipped_workflows_are_listed_with_their_parameters() -> None:
    views = await listed(library(SHIPPED))
    view = views["my_workflow_001"]
    assert view.title == "My workflow 001"
    assert {"prompt", "steps", "seed"} <= {parameter.name for parameter in view.parameters}
    assert "KSampler" in view.node_classes
    assert all(view.problem is None for view in views.values())


async def test_a_workflow_is_got_with_its_graph_and_parameters(tmp_path: Path) -> None:
    write(tmp_path / "shots" / "wide.json")
    workflow = await library(tmp_path).get("shots/wide")
    assert workflow.graph == text_to_image()
    assert (workflow.id, workflow.title) == ("shots/wide", "Wide")
    assert workflow.parameters[0].name == "prompt"


async def test_a_wrapped_graph_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a.JSON").write_bytes(b"\xef\xbb\xbf" + json.dumps({"prompt": text_to_image()}).encode())
    assert (await library(tmp_path).get("a")).graph == text_to_image()


async def test_new_changed_and_removed_files_count_at_once(tmp_path: Path) -> None:
    one = library(tmp_path)
    assert await listed(one) == {}
    path = write(tmp_path / "a.json")
    assert (await one.get("a")).graph["3"]["inputs"]["steps"] == 20
    write(path, text_to_image(_3=sampler(steps=7)))
    assert (await one.get("a")).graph["3"]["inputs"]["steps"] == 7
    fresh = write(tmp_path / "a.tmp", text_to_image(_3=sampler(steps=8)))
    os.replace(fresh, path)
    assert (await one.get("a")).graph["3"]["inputs"]["steps"] == 8
    path.unlink()
    assert (await unknown(one, "a")).near == ()
    assert await listed(one) == {}


async def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    one = library(tmp_path)
    first = await one.get("a")
    assert await listed(one)
    assert await one.get("a") is first


async def test_an_unknown_workflow_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    write(tmp_path / "my_workflow_001.json")
    assert (await unknown(library(tmp_path), "my_workflow_01")).near == ("my_workflow_001",)


@pytest.mark.parametrize(
    "workflow_id",
    [
        "../outside",
        "sub/../a",
        "./a",
        "a.json",
        "/a",
        "sub//b",
        "sub\\b",
        "C:a",
        "",
        ".",
        "..",
        "a\x00",
        "A",
        "x" * 5000,
    ],
)
async def test_an_id_is_a_key_and_never_a_path(tmp_path: Path, workflow_id: str) -> None:
    write(tmp_path / "outside.json")
    write(tmp_path / "in" / "a.json")
    write(tmp_path / "in" / "sub" / "b.json")
    one = library(tmp_path / "in")
    await unknown(one, workflow_id)
    await unknown(one, str(tmp_path / "in" / "a"))


async def test_of_equal_ids_the_first_folder_counts(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.json", text_to_image(_3=sampler(steps=1)))
    write(tmp_path / "two" / "a.json", text_to_image(_3=sampler(steps=2)))
    write(tmp_path / "two" / "b.json")
    one = library(tmp_path / "none", tmp_path / "one", tmp_path / "two")
    assert (await one.get("a")).graph["3"]["inputs"]["steps"] == 1
    assert set(await listed(one)) == {"a", "b"}


async def test_a_missing_folder_is_empty_and_may_come_later(tmp_path: Path) -> None:
    one = library(tmp_path / "later")
    assert await listed(one) == {}
    write(tmp_path / "later" / "a.json")
    assert set(await listed(one)) == {"a"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b'{"1": {"class_type"', "not JSON at line 1"),
        (b'{"1": {"class_type": "X", "inputs": {"a": 1, "a": 2}}}', "twice"),
        (b'{"1": {"class_type": "X", "inputs": {"a": NaN}}}', "NaN"),
        (b'{"1": {"class_type": "X"}}', "inputs"),
        (b'{"nodes": [], "links": []}', "UI format"),
        (b"[]", "a list"),
        (b"\xff\xfe\xff", "UTF-16"),
        (b'{"1": ' + b"[" * 500, "nested deeper"),
        (b'{"1": "' + b"x" * 5000 + b'"}', "bytes"),
    ],
)
async def test_a_broken_file_is_listed_with_its_problem_and_refused_with_it(
    tmp_path: Path, content: bytes, words: str
) -> None:
    write(tmp_path / "good.json")
    (tmp_path / "bad.json").write_bytes(content)
    one = library(tmp_path, body_bytes=4096)
    views = await listed(one)
    assert views["good"].problem is None
    assert words in (views["bad"].problem or "")
    with pytest.raises(ManifestError) as caught:
        await one.get("bad")
    assert caught.value.problems[0].code == ("no_catalogue" if words == "UI format" else "workflow_unusable")
    assert words in str(caught.value)


async def test_a_broken_file_that_is_mended_is_good(tmp_path: Path) -> None:
    one = library(tmp_path)
    (tmp_path / "a.json").write_bytes(b"{")
    assert (await listed(one))["a"].problem
    write(tmp_path / "a.json")
    assert await one.get("a")


async def test_links_that_lead_out_are_not_followed_and_links_inside_are(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "secret.json")
    inside = write(tmp_path / "in" / "a.json")
    for name, aim in {
        "out": outside,
        "same": inside,
        "dangling": tmp_path / "nothing.json",
        "loop": tmp_path / "in" / "loop.json",
    }.items():
        (tmp_path / "in" / f"{name}.json").symlink_to(aim)
    (tmp_path / "in" / "folder").symlink_to(outside.parent)
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    assert set(await listed(library(tmp_path / "in"))) == {"a", "same"}


async def test_the_library_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.json")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert set(await listed(library(tmp_path / "link"))) == {"a"}


async def test_hidden_foreign_and_unnameable_files_do_not_exist(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    for name in (
        ".hidden.json",
        ".git/config.json",
        "readme.txt",
        "a\nb.json",
        "back\\slash.json",
        "x" * 201 + ".json",
    ):
        write(tmp_path / name)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    assert set(await listed(library(tmp_path))) == {"a"}


async def test_a_name_is_found_however_its_accents_are_composed(tmp_path: Path) -> None:
    write(tmp_path / (unicodedata.normalize("NFD", "é") + ".json"))
    one = library(tmp_path)
    assert set(await listed(one)) == {"\u00e9"}
    assert await one.get("e\u0301") is await one.get("\u00e9")


async def test_ids_are_sorted_as_a_person_sorts(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        write(tmp_path / f"shot_{number}.json")
    assert list(await listed(library(tmp_path))) == ["shot_1", "shot_9", "shot_10"]


async def test_a_library_that_is_a_whole_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.json")
    write(tmp_path / "a/b/c/d.json")
    monkeypatch.setattr(module, "MAX_FOLDERS_DEEP", 2)
    assert "a/b/c/d" not in await listed(library(tmp_path))
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    assert set(await listed(library(tmp_path))) == {"0", "1", "2"}


async def test_many_at_once_get_the_same_workflow(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.json")
    one = library(tmp_path)
    got: list[str] = []

    async def get(name: str) -> None:
        got.append((await one.get(name)).id)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for name in "abc" * 20:
                group.start_soon(get, name)
            group.start_soon(one.list)
    assert sorted(got) == sorted("abc" * 20)


async def test_a_file_without_permission_is_listed_with_that_and_read_once_it_may_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads everything")
    one = library(tmp_path)
    assert "cannot be read" in ((await listed(one))["a"].problem or "")
    path.chmod(0o600)
    assert (await listed(one))["a"].problem is None
