"""`workflows add`: a file becomes a workflow with a name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.program import ROOT, run, served
from tests.pages import GRAPH, page, picture

SHIPPED = ROOT / "workflows" / "my_workflow_001.json"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("workflows_dir: [./studio, ./more]\n", encoding="utf-8")
    (tmp_path / "shot 7.json").write_bytes(SHIPPED.read_bytes())
    return tmp_path


def test_a_graph_gets_a_name_and_a_file_to_edit(place: Path) -> None:
    ended = run("workflows", "add", "shot 7.json", "--id", "people/shot_7", folder=place)
    assert ended.returncode == 0, ended.stderr
    graph, described = place / "studio/people/shot_7.json", place / "studio/people/shot_7.yaml"
    assert str(graph) in ended.stdout and str(described) in ended.stdout
    assert "submit people/shot_7" in ended.stdout
    assert json.loads(graph.read_text(encoding="utf-8")) == json.loads(SHIPPED.read_text(encoding="utf-8"))
    text = described.read_text(encoding="utf-8")
    assert text.startswith("# What callers may set")
    entries = {entry["name"]: entry for entry in yaml.safe_load(text)["parameters"]}
    assert entries["steps"] == {"name": "steps", "node": "3", "input": "steps", "type": "integer"}


def test_nothing_is_replaced_unless_it_is_asked_for(place: Path) -> None:
    described = place / "studio/shot 7.yaml"
    assert run("workflows", "add", "shot 7.json", folder=place).returncode == 0
    described.write_text("title: Mine\n", encoding="utf-8")
    ended = run("workflows", "add", "shot 7.json", folder=place)
    assert (ended.returncode, described.read_text(encoding="utf-8")) == (2, "title: Mine\n")
    assert "--force" in ended.stderr and str(described) in ended.stderr
    assert run("workflows", "add", "shot 7.json", "--force", folder=place).returncode == 0
    assert "parameters:" in described.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.json",), "cannot be read"),
        (("config.yaml",), "no JSON"),
        (("plain.png",), "no workflow"),
        (("odd.json", "--object-info", "nodes.json"), "NobodyHasThis"),
        (("shot 7.json", "--id", "../out"), "cannot be the name"),
        (("shot 7.json", "--id", "/etc/x"), "cannot be the name"),
        (("shot 7.json", "--id", ".hidden"), "cannot be the name"),
        (("shot 7.json", "--id", ""), "cannot be the name"),
        (("shot 7.json", "--id", "linked/x"), "leads out"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_is_written(
    place: Path, arguments: tuple[str, ...], said: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (place / "studio").mkdir()
    (place / "studio" / "linked").symlink_to(outside)
    (place / "plain.png").write_bytes(picture())
    (place / "odd.json").write_text(json.dumps(page(kind="NobodyHasThis")), encoding="utf-8")
    (place / "nodes.json").write_text('{"SaveImage": {"input": {}}}', encoding="utf-8")
    ended = run("workflows", "add", *arguments, folder=place)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr and "Traceback" not in ended.stderr
    assert [path.name for path in (place / "studio").iterdir()] == ["linked"]
    assert list(outside.iterdir()) == []


def test_a_running_orchestrator_shows_and_renders_what_was_added(place: Path) -> None:
    with served(place) as (_, _url):
        assert run("workflows", "add", "shot 7.json", "--id", "shot_7", folder=place).returncode == 0
        assert "sampler_name" in run("workflows", "shot_7", folder=place).stdout
        described = place / "workflows" / "shot_7.yaml"
        text = described.read_text(encoding="utf-8")
        described.write_text(
            text.replace("# min:", "min: 1", 1).replace("# max:", "max: 99999999", 1), encoding="utf-8"
        )
        assert "from 1 to 99999999" in run("workflows", "show", "shot_7", folder=place).stdout
        ended = run("submit", "shot_7", "-p", "steps=1", "--watch", folder=place)
        assert ended.returncode == 0, ended.stderr


def test_a_picture_gets_a_name_without_any_server(place: Path) -> None:
    (place / "shot.png").write_bytes(picture(prompt=GRAPH, workflow=page()))
    ended = run("workflows", "add", "shot.png", "--id", "card", folder=place)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((place / "studio/card.json").read_text(encoding="utf-8")) == GRAPH


def test_what_the_page_saved_is_converted_and_described_with_types_that_its_backend_says(place: Path) -> None:
    (place / "page.json").write_text(json.dumps(page()), encoding="utf-8")
    ended = run("workflows", "add", "page.json", "--id", "card", folder=place)
    assert (ended.returncode, list(place.glob("studio/*"))) == (3, [])
    assert "--object-info" in ended.stderr
    with served(place, config="server: {port: 0}\nworkflows_dir: ./studio\n"):
        ended = run("workflows", "add", "page.json", "--id", "card", folder=place)
        assert ended.returncode == 0, ended.stderr
        assert run("submit", "card", "-p", "width=32", "--watch", folder=place).returncode == 0
    assert json.loads((place / "studio/card.json").read_text(encoding="utf-8"))["1"]["class_type"] == "EmptyImage"
    entries = yaml.safe_load((place / "studio/card.yaml").read_text(encoding="utf-8"))["parameters"]
    width = next(entry for entry in entries if entry["name"] == "width")
    assert (width["type"], width["min"]) == ("integer", 1)
