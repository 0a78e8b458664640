"""A wrong file gives one message: file, line, key, what was found, what is allowed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.settings import load_settings


def message(folder: Path, text: str | bytes) -> str:
    file = folder / "config.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ={})
    return str(caught.value).replace(str(folder), "")


BACKEND = "backends:\n  - id: a\n    host: r1\n    "

WRONG: dict[str, tuple[str | bytes, str]] = {
    "unknown key": ("data_dri: x\n", "1: data_dri: there is no such key. Did you mean data_dir?"),
    "unknown key inside": (BACKEND + "prot: 1", "4: backends[0].prot: there is no such key. Did you mean port?"),
    "unlike any key": ("retention: {zzz: 1}", "1: retention.zzz: there is no such key. Known here: bytes, days, jobs."),
    "not a key of the file": ("config_file: x", "1: config_file: there is no such key."),
    "field name, not key": ("workflows_dirs: x", "1: workflows_dirs: there is no such key. Did you mean workflows_dir"),
    "word for a port": (
        BACKEND + "port: eighty",
        "4: backends[0].port: found 'eighty'; a whole number from 1 to 65535 is needed.",
    ),
    "port too high": (BACKEND + "port: 65536", "4: backends[0].port: found 65536; a whole number from 1 to 65535"),
    "true as a port": (BACKEND + "port: true", "4: backends[0].port: found true; a whole number"),
    "text as a switch": (BACKEND + 'enabled: "yes"', "4: backends[0].enabled: found 'yes'; true or false is needed."),
    "number as an id": ("backends: [{id: 7, host: r1}]", "1: backends[0].id: found 7; 1 to 64 of the characters"),
    "dots as an id": ("backends: [{id: .., host: r1}]", "1: backends[0].id: found '..'; 1 to 64 of the characters"),
    "missing key": ("backends:\n  - id: a\n", "2: backends[0].host: is missing; a host name or IP address"),
    "scheme in the host": (
        BACKEND.replace("r1", "http://r1"),
        "3: backends[0].host: found 'http://r1'; write the host",
    ),
    "port in the host": (
        BACKEND.replace("r1", "r1:8188"),
        "3: backends[0].host: found 'r1:8188'; write the host alone",
    ),
    "no address": (
        BACKEND.replace("r1", "192.168.1.300"),
        "3: backends[0].host: found '192.168.1.300'; a host name or",
    ),
    "section as text": ("server: here", "1: server: found 'here'; keys with values are needed"),
    "list as text": ("backends: here", "1: backends: found 'here'; a list of backends is needed."),
    "entry as text": ("backends:\n  - here", "2: backends[0]: found 'here'; keys with values are needed"),
    "empty entry": ("backends:\n  -\n", "2: backends[0]: found nothing; keys with values are needed"),
    "no choice": ("outbox: some", "1: outbox: found 'some'; all or inbox is needed."),
    "no duration": ("scheduling: {lost_after: soon}", "1: scheduling.lost_after: found 'soon'; a duration (seconds,"),
    "duration too long": ("scheduling: {retry_delay: 2h}", "1: scheduling.retry_delay: found '2h'; a duration"),
    "duration without end": ("scheduling: {lost_after: .inf}", "1: scheduling.lost_after: found inf; a duration"),
    "delays that cross": (
        "scheduling:\n  retry_delay: 5m",
        "2: scheduling.retry_delay: retry_delay is longer than retry_delay_max",
    ),
    "no size": ("limits: {body_bytes: 5XB}", "1: limits.body_bytes: found '5XB'; a size (bytes,"),
    "old label": ("backends: [{id: a, host: r1, tags: [1]}]", "1: backends[0].tags[0]: found 1; a list of texts"),
    "any origin": ('server: {cors_origins: ["*"]}', "1: server.cors_origins[0]: found '*'; * would let every web page"),
    "origin with a path": (
        'server: {cors_origins: ["http://a/b"]}',
        "1: server.cors_origins[0]: found 'http://a/b'; an",
    ),
    "no public address": ("server: {public_url: studio}", "1: server.public_url: found 'studio'; an address with http"),
    "own header": (BACKEND + "headers: {Host: x}", "4: backends[0].headers: the header Host is set by"),
    "empty folder": ('data_dir: " "', "1: data_dir: found ' '; a folder as text"),
    "same key twice": (
        "outbox: all\nlog_dir: x\noutbox: all\n",
        "3: outbox: the key stands twice, on line 1 and on line 3",
    ),
    "same id twice": (
        "backends:\n  - {id: a, host: r1}\n  - {id: A, host: r2}\n",
        "3: backends[1].id: found 'A', which is also the id of the backend on line 2; ids are unique.",
    ),
    "Inbox in the Outbox": (
        "outbox: all\ninbox_dir: Outbox/in",
        "2: inbox_dir: inbox_dir (/Outbox/in) and outbox_dir (/Outbox) must be two folders, neither inside the other.",
    ),
    "Outbox in the Inbox": (
        "outbox: all\n\noutbox_dir: Inbox",
        "3: outbox_dir: inbox_dir (/Inbox) and outbox_dir (/Inbox) must",
    ),
    "data in the Inbox": (
        "outbox: all\ndata_dir: Inbox",
        "2: data_dir: data_dir must not be in inbox_dir (/Inbox): its files",
    ),
    "workflows in the Inbox": ("workflows_dir: Inbox/w", "1: workflows_dir: workflows_dir must not be in inbox_dir"),
    "bad escape": (
        'outbox: all\ndata_dir: "D:\\studio"',
        "2: column 15: found unknown escape character 's'. In double",
    ),
    "escape that YAML takes": (
        'data_dir: "D:\\renders"',
        "1: data_dir: found the control character U+000D in the text.",
    ),
    "tab": ("server:\n\tport: 1\n", "2: column 1: found a tab; YAML is indented with spaces only."),
    "colon": ("name: a: b\n", "1: column 8: found a colon that does not belong here"),
    "open list": (
        "outbox: all\nbackends: [1, 2\n\n#\n",
        "2: column 11: the file ends inside a quoted text, a [list] or a",
    ),
    "open text": ('outbox: all\ndata_dir: "a\nlog_dir: b\n', "2: column 11: the file ends inside a quoted text"),
    "indentation": ("- a\nb: c\n", "2: column 1: the indentation does not fit the lines above."),
    "reserved sign": ("data_dir: @home\n", "1: column 11: found character '@' that cannot start any token; put the"),
    "two documents": ("outbox: all\n---\noutbox: all\n", "2: column 1: found a second document"),
    "list at the top": ("- a\n", "1: found a list at the top; keys with values are needed"),
    "value at the top": ("hello\n", "1: found a single value at the top; keys with values are needed"),
    "anchor": ("data_dir: &x a\nlog_dir: *x\n", "1: column 11: found &x; anchors and aliases are not allowed."),
    "tag": ("data_dir: !!python/object/apply:os.system [x]\n", "1: column 11: found the tag tag:yaml.org,2002:python"),
    "list as a key": ("? [a]\n: b\n", "1: found a list or mapping as a key"),
    "depth": ("a: " + "[" * 5000, "found more than 20 levels"),
    "huge number": ("server: {port: " + "9" * 5000 + "}", "1: server.port: found '99999"),
    "control character": (b"data_dir: a\x07b", "1: found the unprintable character U+0007; remove it."),
    "Latin-1": (b"outbox: all\ndata_dir: Gem\xe4lde\n", "2: found the byte 0xe4, which is not UTF-8"),
    "UTF-16": ("outbox: all".encode("utf-16"), "1: the file is UTF-16; save it as UTF-8."),
    "too large": (b"#" * 1_000_001, "the file is larger than 1 MB"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_explained(tmp_path: Path, case: str) -> None:
    text, expected = WRONG[case]
    told = message(tmp_path, text)
    assert told.startswith("The configuration has a problem:\n  /config.yaml:"), told
    assert expected in told
    assert not re.search(r"pydantic|Traceback|Input should|yaml.[a-z]+.[A-Z]|errors\.", told)
    assert max(map(len, told.splitlines())) < 400


def test_every_problem_is_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    told = message(tmp_path, "data_dri: x\nbackends:\n  - id: a\n    port: 0\noutbox: some\noutbox: all\n")
    assert told.splitlines()[0] == "The configuration has 5 problems:"
    keys = [line.split(": ")[:2] for line in told.splitlines()[1:]]
    assert [(where.strip(), key) for where, key in keys] == [
        ("/config.yaml:1", "data_dri"),
        ("/config.yaml:3", "backends[0].host"),
        ("/config.yaml:4", "backends[0].port"),
        ("/config.yaml:5", "outbox"),
        ("/config.yaml:6", "outbox"),
    ]


def test_thousands_of_problems_are_told_in_a_screenful(tmp_path: Path) -> None:
    told = message(tmp_path, "".join(f"zz{number}: 1\n" for number in range(3000)))
    assert len(told.splitlines()) == 42
    assert told.endswith("... and 2960 more.")


def test_a_windows_path_in_double_quotes_is_told_how_to_write_it(tmp_path: Path) -> None:
    for wrong in ('data_dir: "D:\\renders"', 'data_dir: "D:\\studio"', 'data_dir: "D:\\x"'):
        told = message(tmp_path, wrong)
        assert "forward slashes (D:/renders) or in single quotes ('D:\\renders')" in told


def test_secrets_of_a_wrong_file_are_not_told(tmp_path: Path) -> None:
    for wrong in (
        BACKEND + "headers: {Authorization: [canary-4402]}",
        BACKEND + 'headers: {Authorization: "canary-4402\\r\\nX: y"}',
        BACKEND + "headers: canary-4402",
        BACKEND + "headers: {Content-Length: canary-4402}",
        BACKEND.replace("r1", "http://user:canary-4402@r1"),
        "server: {public_url: 'http://user:canary-4402@r1'}",
    ):
        assert "canary" not in message(tmp_path, wrong)


def test_keys_that_steer_a_terminal_are_told_escaped(tmp_path: Path) -> None:
    told = message(tmp_path, '"\\e[31mred": 1\n' + "k" * 5000 + ": 1\n")
    assert "\x1b" not in told
    assert len(told) < 1000


def test_a_file_of_nested_aliases_costs_nothing(tmp_path: Path) -> None:
    laughs = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert "anchors and aliases are not allowed" in message(tmp_path, laughs)


def test_a_folder_or_a_pipe_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="this is a folder"):
        load_settings(tmp_path, environ={})
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(SettingsError, match="not an ordinary file"):
            load_settings(tmp_path / "pipe", environ={})


def test_a_config_yaml_that_is_a_folder_or_a_broken_link_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(SettingsError, match="this is a folder"):
        load_settings(environ={})
    (tmp_path / "config.yaml").rmdir()
    (tmp_path / "config.yaml").symlink_to("gone.yaml")
    with pytest.raises(SettingsError, match="there is no such file"):
        load_settings(environ={})


words = strategies.sampled_from(
    ["backends", "id", "host", "port", "server", "headers", "tags", "limits", "a", "null", "1", "- ", ": ", "\n", "  "]
    + ["[", "]", "{", "}", "'", '"', "\\", "&x", "*x", "!!int", "2024-01-01", "0x1F", "12:30", "~", "|", ">", "#", "\t"]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(strategies.lists(words, max_size=30).map("".join))
def test_no_text_makes_anything_but_settings_or_a_message(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_settings(file, environ={})
    except SettingsError as error:
        assert str(error).startswith("The configuration has ")
