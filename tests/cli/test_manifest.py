from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.command.ending import UsageError
from orchestrator_mcp.command.manifest import Changes, build_manifest, read_pairs, read_value


def build(target: str | Path, parameters: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return build_manifest(str(target), Changes(parameters=parameters, fields=fields))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("-1", -1),
        ("7.5", 7.5),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("a harbour", "a harbour"),
        ("", ""),
        ("True", "True"),
        ('"20"', '"20"'),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("1e", "1e"),
        ("[" * 100_000, "[" * 100_000),
        ("@@home", "@home"),
    ],
)
def test_a_value_is_json_where_it_reads_as_such_and_else_text(text: str, value: object) -> None:
    assert read_value(text, name="n") == value


def test_a_value_may_be_the_text_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("42 lighthouses\nat dusk", encoding="utf-8")
    assert read_value(f"@{tmp_path}/prompt.txt", name="prompt") == "42 lighthouses\nat dusk"
    with pytest.raises(UsageError, match="cannot be read"):
        read_value(f"@{tmp_path}/none.txt", name="prompt")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_value(f"@{tmp_path}/bytes", name="prompt")


def test_a_pair_is_split_at_its_first_equals_sign() -> None:
    assert read_pairs(["prompt=a=b", "3.seed=7"], option="parameters") == {"prompt": "a=b", "3.seed": 7}


@pytest.mark.parametrize("pairs", [["steps"], ["=4"], ["steps=1", "steps=2"]])
def test_what_is_no_pair_or_comes_twice_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageError):
        read_pairs(pairs, option="parameters")


def test_a_target_without_a_file_is_the_id_of_a_workflow() -> None:
    assert build("portraits/wide", priority=3, backend_affinity=None) == {
        "workflow_id": "portraits/wide",
        "priority": 3,
    }


def test_what_the_command_line_says_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"workflow_id": "w", "parameters": {"seed": 1, "steps": 2}, "priority": 1}))
    found = build(file, ("seed=9",), priority=5)
    assert found == {"workflow_id": "w", "parameters": {"seed": 9, "steps": 2}, "priority": 5}


def test_priority_0_wins_over_the_file_too(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"workflow_id": "w", "priority": 50}))
    assert build(file, priority=0)["priority"] == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.json", b"{'a': 1}", "line 1, column 2"),
        ("m.json", b"[1]", "a list"),
        ("m.json", b"", "empty"),
        ("shot.png", b"\x89PNG\r\n\x1a\n\xff", "holds no workflow"),
    ],
)
def test_a_file_that_is_no_json_object_is_told_with_its_name(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as refused:
        build(tmp_path / name)
    assert words in str(refused.value) and name in str(refused.value)


def test_a_missing_file_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "harbour.json").write_text("{}")
    with pytest.raises(UsageError, match=r"Did you mean harbour\.json"):
        build(tmp_path / "harbor.json")
    with pytest.raises(UsageError, match="is a folder"):
        build(tmp_path)


def test_parameters_that_are_no_object_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"workflow_id": "w", "parameters": [1]}))
    with pytest.raises(UsageError, match="no object"):
        build(file, ("seed=1",))
