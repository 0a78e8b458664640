"""`mcp-config`: an agent's program is told of the orchestrator, in its own words and in its own file."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from orchestrator_mcp.cli.running import Client
from orchestrator_mcp.command.agent_hosts import HOSTS
from tests.cli.program import run, served

CONFIG = "server: {port: 9812}\n"
URL = "http://127.0.0.1:9812/mcp"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def read(client: str, text: str) -> Any:
    return (tomllib.loads if HOSTS[client].toml else json.loads)(text)


def told(client: str, *options: str, place: Path) -> dict[str, Any]:
    ended = run("mcp-config", client, *options, folder=place)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = read(client, ended.stdout)[HOSTS[client].group]["render-farm"]
    return found


def test_the_command_knows_every_program_by_name() -> None:
    assert set(get_args(Client)) == set(HOSTS)


@pytest.mark.parametrize("client", HOSTS)
def test_what_is_printed_starts_this_installation_from_any_folder(client: str, place: Path, tmp_path: Path) -> None:
    entry = told(client, place=place)
    command: str | list[str] = entry["command"]
    program, *rest = [command, *entry["args"]] if isinstance(command, str) else command
    assert Path(program).is_absolute() and os.access(program, os.X_OK)
    assert rest[-3:] == ["stdio", "--config", str(place / "config.yaml")]


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("claude-code", {"type": "http", "url": URL}),
        ("cursor", {"url": URL}),
        ("vscode", {"type": "http", "url": URL}),
        ("codex", {"url": URL, "tool_timeout_sec": 120}),
        ("gemini", {"type": "http", "url": URL}),
        ("opencode", {"type": "remote", "url": URL}),
    ],
)
def test_over_http_the_configured_address_is_told(client: str, expected: dict[str, Any], place: Path) -> None:
    assert told(client, "--transport", "http", place=place) == expected


def test_over_http_the_address_of_the_one_that_runs_is_told(tmp_path: Path) -> None:
    with served(tmp_path) as (_, url):
        assert told("cursor", "--transport", "http", place=tmp_path) == {"url": f"{url}/mcp"}


def test_a_port_that_is_not_known_yet_is_no_address(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {port: 0}\n", encoding="utf-8")
    ended = run("mcp-config", "cursor", "--transport", "http", folder=tmp_path)
    assert ended.returncode == 2 and "server.port" in ended.stderr and not ended.stdout


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("claude-code", {"headers": {"Authorization": "Bearer ${ORCHESTRATOR_TOKEN}"}}),
        ("cursor", {"headers": {"Authorization": "Bearer ${env:ORCHESTRATOR_TOKEN}"}}),
        ("vscode", {"headers": {"Authorization": "Bearer ${env:ORCHESTRATOR_TOKEN}"}}),
        ("codex", {"bearer_token_env_var": "ORCHESTRATOR_TOKEN"}),
        ("gemini", {"headers": {"Authorization": "Bearer ${ORCHESTRATOR_TOKEN}"}}),
        ("opencode", {"headers": {"Authorization": "Bearer {env:ORCHESTRATOR_TOKEN}"}}),
    ],
)
def test_a_token_is_named_and_never_told(client: str, expected: dict[str, Any], place: Path) -> None:
    secret = "a-token-that-nobody-should-see-0123456789"
    (place / "config.yaml").write_text("server: {host: 0.0.0.0, port: 9812}\n", encoding="utf-8")
    (place / "data").mkdir()
    (place / "data" / "token").write_text(secret, encoding="ascii")
    (place / "data" / "token").chmod(0o600)
    file = place / "its own"
    environment = {"ORCHESTRATOR_TOKEN": secret}
    ended = run("mcp-config", client, "--transport", "http", folder=place, env=environment)
    assert expected.items() <= read(client, ended.stdout)[HOSTS[client].group]["render-farm"].items()
    assert str(place / "data" / "token") in ended.stderr
    written = run(
        "mcp-config", client, "--transport", "http", "--write", "--file", str(file), folder=place, env=environment
    )
    assert written.returncode == 0, written.stderr
    assert secret not in ended.stdout + ended.stderr + written.stdout + written.stderr + file.read_text()


def test_claude_desktop_reaches_no_server_over_http(place: Path) -> None:
    ended = run("mcp-config", "claude-desktop", "--transport", "http", folder=place)
    assert ended.returncode == 2 and "--transport" in ended.stderr and not ended.stdout


def test_without_a_configuration_nothing_is_told(tmp_path: Path) -> None:
    ended = run("mcp-config", "cursor", folder=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert ended.returncode == 2 and "config.yaml" in ended.stderr and not ended.stdout


@pytest.mark.parametrize(
    ("client", "file"),
    [
        ("claude-desktop", ".config/Claude/claude_desktop_config.json"),
        ("claude-code", ".claude.json"),
        ("cursor", ".cursor/mcp.json"),
        ("vscode", ".config/Code/User/mcp.json"),
        ("codex", ".codex/config.toml"),
        ("gemini", ".gemini/settings.json"),
        ("opencode", ".config/opencode/opencode.json"),
    ],
)
@pytest.mark.skipif(os.uname().sysname != "Linux", reason="other systems have other folders for settings")
def test_each_program_has_its_own_file(client: str, file: str, place: Path) -> None:
    home = place / "home"
    home.mkdir()
    ended = run("mcp-config", client, "--write", folder=place, env={"HOME": str(home), "XDG_CONFIG_HOME": ""})
    assert ended.returncode == 0, ended.stderr
    written = home / file
    assert str(written) in ended.stderr and written.stat().st_mode & 0o777 == 0o600
    assert read(client, written.read_text())[HOSTS[client].group]["render-farm"]["command"]
    assert [path for path in home.rglob("*") if path.is_file()] == [written]


def test_the_old_file_is_kept_beside_and_its_permissions_stay(place: Path) -> None:
    file = place / "mcp.json"
    old = '{\n\t"mcpServers": {\n\t\t"other": {"command": "x"} // mine\n\t},\n\t"theme" : "dark"\n}\n'
    file.write_text(old, encoding="utf-8")
    file.chmod(0o640)
    for _ in range(2):
        ended = run("mcp-config", "cursor", "--write", "--file", "mcp.json", folder=place)
        assert ended.returncode == 0, ended.stderr
    assert "as it was" in ended.stderr
    copy = place / "mcp.json.bak"
    assert copy.read_text() == old and copy.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in place.iterdir()) == ["config.yaml", "mcp.json", "mcp.json.bak"]
    lines = file.read_text().splitlines()
    assert lines[2] == '\t\t"other": {"command": "x"}, // mine'
    assert lines[3] == '\t\t"render-farm": {' and lines[-2] == '\t"theme" : "dark"'


def test_a_file_that_is_a_link_stays_one(place: Path) -> None:
    (place / "kept").mkdir()
    real, link = place / "kept" / "mcp.json", place / "mcp.json"
    real.write_text("{}", encoding="utf-8")
    link.symlink_to(real)
    assert run("mcp-config", "cursor", "--write", "--file", "mcp.json", folder=place).returncode == 0
    assert link.is_symlink() and "render-farm" in real.read_text()


@pytest.mark.parametrize(
    ("client", "text", "reason"),
    [
        ("cursor", '{\n "mcpServers": {\n}', "line 3: a comma or } is missing"),
        ("cursor", '{"mcpServers": []}', "line 1: mcpServers must be an object"),
        ("claude-code", "{\n // a remark\n}", "line 2: a key in double quotes is missing"),
        ("codex", 'model = "x"\n[oops\n', "line 2: "),
        ("codex", 'mcp_servers = {other = {command = "x"}}\n', "cannot be changed safely"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_alone(client: str, text: str, reason: str, place: Path) -> None:
    file = place / "theirs"
    file.write_text(text, encoding="utf-8")
    ended = run("mcp-config", client, "--write", "--file", "theirs", folder=place)
    assert ended.returncode == 2 and reason in ended.stderr, ended.stderr
    assert file.read_text() == text
    assert sorted(path.name for path in place.iterdir()) == ["config.yaml", "theirs"]


def test_a_file_of_other_bytes_is_left_alone(place: Path) -> None:
    (place / "theirs").write_bytes(b'{\n"a": "\xff"}')
    ended = run("mcp-config", "cursor", "--write", "--file", "theirs", folder=place)
    assert ended.returncode == 2 and "line 2: it is not UTF-8" in ended.stderr
