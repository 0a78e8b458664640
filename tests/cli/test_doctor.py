from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.command.check_files import check_database, check_folder
from orchestrator_mcp.command.doctor import find_all
from orchestrator_mcp.command.findings import Finding
from orchestrator_mcp.store.schema import SCHEMA_REVISION
from orchestrator_mcp.store.sqlite import Database
from tests.cli.program import run, served
from tests.partners import SandboxFactory, sandboxes

__all__ = ["sandboxes"]


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


async def examine(folder: Path, config: str) -> dict[str, Finding]:
    file = folder / "config.yaml"
    file.write_text(config, encoding="utf-8")
    with anyio.fail_after(30):
        return by_subject(await find_all(file))


def as_json(folder: Path) -> tuple[int, dict[str, Any]]:
    ended = run("doctor", "--json", folder=folder)
    assert "Traceback" not in ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, document


def test_a_fresh_folder_is_well_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {port: 0}\n", encoding="utf-8")
    code, document = as_json(tmp_path)
    assert (code, document["healthy"]) == (0, True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


def test_the_running_orchestrator_is_known_and_asked(tmp_path: Path) -> None:
    with served(tmp_path) as (server, url):
        code, document = as_json(tmp_path)
        found = {finding["subject"]: finding for finding in document["findings"]}
        assert code == 0
        assert f"process {server.process.pid}" in found["running"]["message"] and url in found["running"]["message"]
        assert "in use" in found["database"]["message"]
        assert server.stop() == 0
    ended = run("doctor", folder=tmp_path)
    assert ended.returncode == 0
    assert "undamaged" in ended.stdout and "All is well." in ended.stdout
    assert not (tmp_path / "data" / "orchestrator.db-wal").exists()


def test_a_wrong_file_is_told_and_ends_with_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("servr: {port: 1}\n", encoding="utf-8")
    code, document = as_json(tmp_path)
    assert (code, document["healthy"]) == (1, False)
    assert "config.yaml:1" in document["findings"][1]["message"]


async def test_a_tokens_file_that_stops_the_start_fails(tmp_path: Path) -> None:
    config = "server: {port: 0, tokens_file: tokens.yaml}\n"
    found = (await examine(tmp_path, config))["tokens"]
    assert found.verdict == "fail" and "there is no such file" in found.message
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text("tokens: [{name: alice, token: canary-0123456789abcdef, scopes: [submit]}]\n", encoding="utf-8")
    tokens.chmod(0o600)
    found = (await examine(tmp_path, config))["tokens"]
    assert found.verdict == "ok" and found.message.startswith("1 in ") and "canary" not in found.message


async def test_every_backend_is_asked_for_its_version(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    new, old = await sandboxes(), await sandboxes(comfyui_version="0.3.40")
    found = await examine(
        tmp_path,
        "server: {port: 0}\nbackends:\n"
        f"  - {{id: new, host: 127.0.0.1, port: {new.port}}}\n"
        f"  - {{id: old, host: 127.0.0.1, port: {old.port}}}\n"
        "  - {id: gone, host: 127.0.0.1, port: 9}\n"
        "  - {id: resting, host: 127.0.0.1, port: 10, enabled: false}\n",
    )
    assert found["backend new"].verdict == "ok" and "ComfyUI 0.3.64" in found["backend new"].message
    assert found["backend old"].verdict == "warn" and "Update ComfyUI" in str(found["backend old"].mend)
    assert found["backend gone"].verdict == "warn" and found["backend gone"].mend
    assert found["backend resting"].verdict == "ok"


async def test_a_farm_of_which_none_answers_fails(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        port = silent.getsockname()[1]
        backends = f"backends: [{{id: a, host: 127.0.0.1, port: 9}}, {{id: b, host: 127.0.0.1, port: {port}}}]"
        found = await examine(tmp_path, f"server: {{port: 0}}\n{backends}\n")
    assert (found["backend a"].verdict, found["backend b"].verdict) == ("fail", "fail")


async def test_a_port_that_another_program_has_fails(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = await examine(tmp_path, f"server: {{port: {taken.getsockname()[1]}}}\n")
    assert found["port"].verdict == "fail" and "--port" in str(found["port"].mend)


def test_a_folder_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "Inbox").touch()
    found = check_folder("Inbox", "inbox_dir", tmp_path / "Inbox", least=1)
    assert found.verdict == "fail" and "inbox_dir" in str(found.mend)


async def test_less_space_than_accepting_asks_for_fails(tmp_path: Path) -> None:
    found = await examine(tmp_path, "limits: {free_bytes: 1024TiB}\nserver: {port: 0}\n")
    for subject in ("data dir", "log dir", "Outbox"):
        assert found[subject].verdict == "fail" and "nothing is accepted" in found[subject].message


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_may_not_be_written_fails(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert check_folder("data dir", "data_dir", tmp_path / "data", least=1).verdict == "fail"
    finally:
        tmp_path.chmod(0o700)


def make_database(folder: Path) -> Path:
    path = folder / "orchestrator.db"
    database = Database(path)
    database.open()
    database.close()
    return path


def test_a_database_of_this_program_is_undamaged_and_left_alone(tmp_path: Path) -> None:
    make_database(tmp_path)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    found = check_database(tmp_path, held=False)
    assert found.verdict == "ok" and "undamaged" in found.message
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def test_a_database_that_is_none_or_damaged_fails(tmp_path: Path) -> None:
    path = make_database(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(b"no database at all" * 100)
    assert check_database(tmp_path, held=False).verdict == "fail"
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    assert check_database(tmp_path, held=False).verdict == "fail"


def test_a_database_of_a_newer_program_fails(tmp_path: Path) -> None:
    path = make_database(tmp_path)
    newer = f"{int(SCHEMA_REVISION) + 1:04d}"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = ?", (newer,))
    connection.commit()
    connection.close()
    found = check_database(tmp_path, held=False)
    assert found.verdict == "fail" and newer in found.message and "Update" in str(found.mend)
