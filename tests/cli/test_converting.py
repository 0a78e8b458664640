"""`workflows convert`, and `submit` of files that carry a workflow."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Running, run, served
from tests.pages import GRAPH, film, page, picture


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "page.json").write_text(json.dumps(page()), encoding="utf-8")
    (tmp_path / "api.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    (tmp_path / "shot.png").write_bytes(picture(prompt=GRAPH, workflow=page()))
    (tmp_path / "page.png").write_bytes(picture(workflow=page(width=32)))
    (tmp_path / "take.mp4").write_bytes(film({"workflow": page(width=16)}))
    (tmp_path / "odd.json").write_text(json.dumps(page(kind="NobodyHasThis")), encoding="utf-8")
    (tmp_path / "plain.png").write_bytes(picture())
    return tmp_path


@pytest.fixture
def running(place: Path) -> Iterator[tuple[Running, str]]:
    with served(place) as found:
        yield found


def bare(path: Path) -> dict[str, object]:
    graph = json.loads(path.read_text(encoding="utf-8"))
    return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in graph.items()}


def test_a_running_orchestrator_is_asked_for_what_the_nodes_are(place: Path, running: object) -> None:
    sources = ("page.json", "api.json", "page.png", "take.mp4")
    ended = run("workflows", "convert", *sources, "--out", "graphs", folder=place)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in (place / "graphs").iterdir()) == [
        "api.json",
        "page-2.json",
        "page.json",
        "take.json",
    ]
    assert bare(place / "graphs" / "page.json") == GRAPH
    assert bare(place / "graphs" / "take.json")["1"]["inputs"]["width"] == 16  # type: ignore[index]
    assert "4 converted, 0 refused." in ended.stdout
    assert "page.png -> graphs/page-2.json" in ended.stdout


def test_one_backend_may_be_named_and_what_is_refused_is_told(place: Path, running: tuple[Running, str]) -> None:
    ended = run("workflows", "convert", "odd.json", "plain.png", "page.json", "--backend", "sandbox", folder=place)
    assert ended.returncode == 1
    assert "refused    odd.json: workflow.nodes.1" in ended.stdout and "NobodyHasThis" in ended.stdout
    assert "plain.png: The file holds no workflow" in ended.stdout
    assert "1 converted, 2 refused." in ended.stdout
    assert "--out" in ended.stderr
    ended = run("workflows", "convert", "page.json", "--backend", "sandbxo", folder=place)
    assert ended.returncode == 1 and "sandbox" in ended.stderr


def test_a_saved_object_info_needs_no_orchestrator(place: Path, running: tuple[Running, str]) -> None:
    server, url = running
    with urllib.request.urlopen(f"{url}/api/backends/sandbox/object_info", timeout=10) as answer:
        (place / "nodes.json").write_bytes(answer.read())
    assert server.stop() == 0
    ended = run("workflows", "convert", "page.json", "--object-info", "nodes.json", "--json", folder=place)
    assert ended.returncode == 0, ended.stderr
    (row,) = json.loads(ended.stdout)
    assert (row["origin"], row["nodes"], row["target"], row["problems"]) == ("ui", 2, None, [])


def test_files_in_api_format_need_neither(place: Path) -> None:
    ended = run("workflows", "convert", "api.json", "shot.png", "--out", "graphs", folder=place)
    assert ended.returncode == 0, ended.stderr
    assert bare(place / "graphs" / "shot.json") == GRAPH


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("page.json",), 3, "--object-info FILE"),
        (("page.json", "--object-info", "api.json", "--backend", "x"), 2, "two ways"),
        (("page.json", "--object-info", "none.json"), 2, "none.json cannot be read"),
        (("page.json", "--object-info", "shot.png"), 2, "no list of node classes"),
        (("api.json", "--out", "page.json"), 2, "cannot be used"),
        (("nothing.json",), 1, ""),
    ],
)
def test_what_is_wrong_is_told_without_a_traceback(
    place: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = run("workflows", "convert", *arguments, folder=place)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr and "Traceback" not in ended.stderr


def test_a_file_is_never_replaced_by_its_own_graph(place: Path) -> None:
    before = (place / "api.json").read_bytes()
    ended = run("workflows", "convert", "api.json", "shot.png", "--out", ".", folder=place)
    assert ended.returncode == 1
    assert "is one of the files" in ended.stdout
    assert (place / "api.json").read_bytes() == before
    assert bare(place / "shot.json") == GRAPH


def test_names_of_files_do_not_steer_the_terminal(place: Path) -> None:
    (place / "red\x1b[31m\n.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    ended = run("workflows", "convert", "red\x1b[31m\n.json", "--out", "graphs", folder=place)
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout and len(ended.stdout.splitlines()) == 2


@pytest.mark.parametrize("name", ["page.json", "api.json", "shot.png", "page.png", "take.mp4"])
def test_submit_takes_any_file_that_holds_a_workflow(place: Path, running: object, name: str) -> None:
    ended = run("submit", name, "-p", "height=24", "--watch", "--json", folder=place)
    assert ended.returncode == 0, ended.stderr
    job = json.loads(ended.stdout.splitlines()[-1])["job"]
    assert (job["status"], job["workflow_id"]) == ("completed", Path(name).stem)
    result = next((place / "Outbox").glob(f"*__{job['job_id'][-8:]}/result.json"))
    assert json.loads(result.read_text(encoding="utf-8"))["graph"]["1"]["inputs"]["height"] == 24


def test_a_file_without_a_workflow_is_told_with_its_name(place: Path, running: object) -> None:
    ended = run("submit", "plain.png", folder=place)
    assert ended.returncode == 2
    assert "plain.png" in ended.stderr and "no workflow" in ended.stderr
    ended = run("submit", "odd.json", folder=place)
    assert ended.returncode == 1
    assert "NobodyHasThis" in ended.stderr
