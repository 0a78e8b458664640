"""Whole files: what is found in them, what is written, and how the summary says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from orchestrator_mcp.workflows.convert import convert, convert_files
from orchestrator_mcp.workflows.convert.files import problem_lines
from tests.workflows.convert.drawing import CATALOGUE, board, chain, node


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def picture(path: Path, **texts: str) -> Path:
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    Image.new("RGB", (4, 4)).save(path, pnginfo=chunks)
    return path


def test_every_kind_of_file_becomes_a_graph_and_a_row(tmp_path: Path) -> None:
    graph = convert(chain(), CATALOGUE).graph
    sources = [
        write(tmp_path / "ui.json", chain()),
        write(tmp_path / "api.json", graph),
        write(tmp_path / "wrapped.json", {"prompt": graph}),
        picture(tmp_path / "both.png", prompt=json.dumps(graph), workflow=json.dumps(chain())),
        picture(tmp_path / "page.png", workflow=json.dumps(chain())),
    ]
    made = convert_files(sources, CATALOGUE, out=tmp_path / "out")
    assert [row.origin for row in made.files] == ["ui", "api", "api", "embedded prompt", "embedded workflow"]
    assert [row.nodes for row in made.files] == [5] * 5
    assert made.exit_code == 0
    for row in made.files:
        assert row.target is not None
        assert json.loads(row.target.read_text(encoding="utf-8")) == graph
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "api.json",
        "both.json",
        "page.json",
        "ui.json",
        "wrapped.json",
    ]


def test_files_of_one_stem_do_not_write_over_each_other(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    sources = [
        write(tmp_path / "a.json", chain()),
        write(tmp_path / "other" / "a.json", board(node(1, "Empty", [8, 8]))),
    ]
    made = convert_files(sources, CATALOGUE, out=tmp_path / "out")
    targets = [row.target for row in made.files]
    assert len({str(target) for target in targets}) == 2
    assert all(target is not None and target.is_file() for target in targets)


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    made = convert_files([write(tmp_path / "ui.json", chain())], CATALOGUE)
    assert (made.files[0].target, made.files[0].nodes) == (None, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["ui.json"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"{", "json"),
        (b"[]", "not_an_object"),
        (b"{}", "no_workflow"),
        (b'{"nodes": [{"id": 1, "type": "Nope"}]}', "unknown_class"),
        (b"\x00\x01\x02 nothing", "no_workflow"),
        (b'{"1": {"class_type": "A", "inputs": {"x": ["9", 0]}}}', "link"),
    ],
)
def test_one_bad_file_is_a_row_with_its_reason_and_the_others_go_on(tmp_path: Path, content: bytes, code: str) -> None:
    bad = tmp_path / "bad.bin"
    bad.write_bytes(content)
    made = convert_files([bad, write(tmp_path / "good.json", chain())], CATALOGUE, out=tmp_path / "out")
    assert made.exit_code == 1
    assert [row.refused for row in made.files] == [True, False]
    assert made.files[0].problems[0].code == code
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.json"]
    assert problem_lines(made.files)[0].startswith(f"{bad}: ")


def test_a_file_that_is_not_there_or_no_plain_file_is_a_row_too(tmp_path: Path) -> None:
    made = convert_files([tmp_path / "nope.json", tmp_path], CATALOGUE)
    assert [row.problems[0].code for row in made.files] == ["file", "file"]


def test_a_picture_whose_prompt_cannot_be_read_says_why(tmp_path: Path) -> None:
    source = picture(tmp_path / "nan.png", prompt='{"1": {"class_type": "A", "inputs": {"x": NaN}}}')
    (row,) = convert_files([source], CATALOGUE).files
    assert row.problems[0].code == "embedded"
    assert "NaN" in row.problems[0].message
