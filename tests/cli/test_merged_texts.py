"""An entry is put into a JSON or TOML file, and every other character stays."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.command.json_text import TextError, with_entry
from orchestrator_mcp.command.toml_text import with_table

ENTRY = {"command": "/opt/farm", "args": ["stdio"]}


def into_json(text: str, *, comments: bool = True) -> str:
    return with_entry(text, "mcpServers", "farm", ENTRY, comments=comments)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "",
            '{\n  "mcpServers": {\n    "farm": {\n      "command": "/opt/farm",\n'
            '      "args": [\n        "stdio"\n      ]\n    }\n  }\n}\n',
        ),
        ('{"a":1}', '{"a":1, "mcpServers": {"farm": {"command": "/opt/farm", "args": ["stdio"]}}}'),
        (
            '{"mcpServers":{"farm":7,"z":1}}',
            '{"mcpServers":{"farm":{"command": "/opt/farm", "args": ["stdio"]},"z":1}}',
        ),
        (
            '{\r\n "mcpServers": {},\r\n "b": 1.50\r\n}',
            '{\r\n "mcpServers": {\r\n  "farm": {\r\n   "command": "/opt/farm",\r\n'
            '   "args": [\r\n    "stdio"\r\n   ]\r\n  }\r\n },\r\n "b": 1.50\r\n}',
        ),
        (
            '{\n    // one\n    "mcpServers": {\n        "x": {}, // two\n        /* three */\n    },\n}',
            '{\n    // one\n    "mcpServers": {\n        "x": {}, // two\n        /* three */\n        "farm": {\n'
            '            "command": "/opt/farm",\n            "args": [\n                "stdio"\n            ]\n'
            "        }\n    },\n}",
        ),
    ],
)  # fmt: skip
def test_an_entry_is_put_where_a_person_would_put_it(before: str, after: str) -> None:
    assert into_json(before) == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "line 1: an object is needed"),
        ("{} {}", "line 1: something stands behind"),
        ('{"a": 1,}', "line 1: a comma stands before }"),
        ('{"a": /* x */ 1}', "line 1: a comment, which this client does not read"),
        ('{"a": 1, "a": 2}', "line 1: the key 'a' stands there twice"),
        ('{\n"a": "b\n"}', "line 2: a text has no end"),
        ('{"a": 01}', "line 1: 01 is no JSON value"),
        ('{"a"', "line 1: a colon is missing"),
        ('{"a":', "line 1: the file ends too early"),
        ('{"a":' * 300, "nested more than 200 deep"),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(TextError, match=reason.replace("(", r"\(")):
        into_json(text, comments=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.none() | st.dictionaries(st.text(), JSON, max_size=3),
    st.sampled_from([None, 1, 2, "\t"]),
)
def test_all_else_stays(document: dict[str, Any], servers: dict[str, Any] | None, indent: int | str | None) -> None:
    document.pop("mcpServers", None)
    if servers is not None:
        document["mcpServers"] = servers
    wanted = {**document, "mcpServers": {**(servers or {}), "farm": ENTRY}}
    changed = into_json(json.dumps(document, indent=indent), comments=False)
    assert json.loads(changed) == wanted
    assert into_json(changed, comments=False) == changed


TABLE = '[mcp_servers.farm]\ncommand = "/opt/farm"\nargs = ["stdio"]\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", TABLE),
        ('model = "x" # mine', f'model = "x" # mine\n\n{TABLE}'),
        ('[mcp_servers.other]\nurl = "u"\n', f'[mcp_servers.other]\nurl = "u"\n\n{TABLE}'),
        (
            '# top\n[mcp_servers."farm"]\nurl = "u"\n[mcp_servers.farm.env]\nA = "b"\n\n# next\n[tui]\nx = 1\n',
            f"# top\n{TABLE}\n# next\n[tui]\nx = 1\n",
        ),
        (
            'a = 1\r\n[b]\r\nc = 2\r\n',
            "a = 1\r\n[b]\r\nc = 2\r\n\r\n" + TABLE.replace("\n", "\r\n"),
        ),
    ],
)  # fmt: skip
def test_a_table_is_put_where_a_person_would_put_it(before: str, after: str) -> None:
    changed = with_table(before, "mcp_servers", "farm", ENTRY)
    assert changed == after
    assert with_table(changed, "mcp_servers", "farm", ENTRY) == changed


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = {}\n',
        'mcp_servers.farm.url = "u"\n',
        'a = """\n[mcp_servers.farm]\n"""\n[mcp_servers.farm]\nurl = "u"\n',
        "mcp_servers = 1\n",
    ],
)  # fmt: skip
def test_a_table_is_put_nowhere_where_it_would_change_more(text: str) -> None:
    tomllib.loads(text)
    with pytest.raises(TextError, match="mcp_servers"):
        with_table(text, "mcp_servers", "farm", ENTRY)
