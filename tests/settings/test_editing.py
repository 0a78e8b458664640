"""The list of backends is changed in the text of a configuration, and every other line stays as it was."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.settings.editing import with_backend, without_backend

FARM = """\
# our studio
data_dir: "./data"   # on the fast disk

backends:   # the farm
  # the big one
  - id: node1
    name: "Beast (5090)"   # quoted
    host: "192.168.1.100"
    capabilities: ["flux", "sdxl"]  # labels
  - id: node2
    host: h2   # last

# where it listens
server:
  port: 9800
"""
NEW = {"id": "n3", "host": "192.168.1.7", "capabilities": ["flux"]}


def test_a_backend_is_added_below_the_last_one_and_every_comment_stays() -> None:
    added = with_backend(FARM, NEW)
    assert added == FARM.replace(
        "    host: h2   # last\n",
        "    host: h2   # last\n  - id: n3\n    host: 192.168.1.7\n    capabilities: [flux]\n",
    )


def test_a_backend_is_taken_out_with_the_comment_above_it_and_nothing_else() -> None:
    without = without_backend(FARM, "node1")
    begin, end = FARM.index("  # the big one"), FARM.index("  - id: node2")
    assert without == FARM[:begin] + FARM[end:]


def test_the_last_backend_leaves_an_empty_list() -> None:
    none_left = without_backend(without_backend(FARM, "node2"), "node1")
    assert yaml.safe_load(none_left)["backends"] == []
    assert "# where it listens" in none_left
    assert yaml.safe_load(with_backend(none_left, NEW))["backends"] == [NEW]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but a comment\n#backends:\n",
        "data_dir: ./data",
        "backends:\nserver: {port: 1}\n",
        "backends: []   # none yet\nserver: {port: 1}\n",
    ],
)
def test_a_file_without_backends_gets_a_list(text: str) -> None:
    added = with_backend(text, NEW)
    assert yaml.safe_load(added) == {**(yaml.safe_load(text) or {}), "backends": [NEW]}
    assert "# nothing" not in text or added.startswith(text)


@pytest.mark.parametrize(
    "text", ["backends:\n- id: a\n  host: b\n# end\n", "backends:\n  -\n    id: a\n    host: b\n  - {id: d, host: e}\n"]
)
def test_other_ways_to_write_a_list_are_understood(text: str) -> None:
    present = yaml.safe_load(text)["backends"]
    assert yaml.safe_load(with_backend(text, NEW))["backends"] == [*present, NEW]
    assert yaml.safe_load(without_backend(text, "a"))["backends"] == present[1:]


def test_a_list_on_one_line_is_left_to_its_owner() -> None:
    with pytest.raises(SettingsError, match="not written as one entry below the other"):
        with_backend("backends: [{id: a, host: b}]\n", NEW)


def test_a_backend_that_is_not_there_cannot_be_taken_out() -> None:
    with pytest.raises(SettingsError, match="No backend 'node9'"):
        without_backend(FARM, "node9")


@settings(deadline=None)
@given(
    names=st.lists(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), unique=True, min_size=1, max_size=5),
    comments=st.lists(st.text(alphabet="abc #:-{}[]'\"", max_size=12), max_size=6),
    place=st.integers(0, 4),
)
def test_adding_and_taking_out_again_gives_the_file_that_was_there(
    names: list[str], comments: list[str], place: int
) -> None:
    lines = ["server:", "  port: 9800", "backends:"]
    for number, name in enumerate(names):
        said = comments[number % len(comments)] if comments else ""
        lines += [f"  - id: {name}", f"    host: h{number}   # {said}"]
    text = "\n".join([*lines, "", f"# {comments[0] if comments else ''}", "limits: {}", ""])
    added = with_backend(text, {"id": "NEW", "host": "x", "port": 8188})
    assert yaml.safe_load(added)["backends"][-1] == {"id": "NEW", "host": "x", "port": 8188}
    assert without_backend(added, "NEW") == text
    gone = names[place % len(names)]
    assert [one["id"] for one in yaml.safe_load(without_backend(added, gone))["backends"]] == [
        *(name for name in names if name != gone),
        "NEW",
    ]
