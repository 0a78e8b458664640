from __future__ import annotations

import gc
import json
import signal
import socket
import sys
import time
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from websockets.asyncio.client import connect

from orchestrator_mcp import app
from orchestrator_mcp.command import serving
from tests.cli.program import CLI, SERVER, run, served, started

LONG = {"workflow_id": "my_workflow_001", "parameters": {"steps": 5000}}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_with_streams_open_and_exit_code_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    with served(tmp_path) as (server, url):
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
            with anyio.fail_after(60):
                job_id = (await http.post("/api/job", json=LONG)).raise_for_status().json()["job_id"]
                address = f"{url.replace('http', 'ws', 1)}/api/job/{job_id}/stream"
                async with (
                    http.stream("GET", f"/api/job/{job_id}/events") as events,
                    connect(address, proxy=None) as socket_stream,
                ):
                    assert json.loads(await socket_stream.recv())["type"] == "job"
                    assert await anext(events.aiter_bytes())
                    begun = time.monotonic()
                    assert await anyio.to_thread.run_sync(server.stop, number) == 0
                    assert time.monotonic() - begun < 10


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("serve", "--port", str(port), folder=tmp_path)
    assert ended.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who has a port")
def test_a_port_that_another_orchestrator_has_is_told_with_its_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with served(first) as (server, url):
        ended = run("serve", "--port", url.rpartition(":")[2], folder=second)
        assert ended.returncode == 1
        assert f"taken by another orchestrator (process {server.process.pid}, started in {first})" in ended.stderr


def test_a_wrong_file_is_told_with_line_and_key_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text('data_dir: "./data"\nserver:\n  prot: 9800\n', encoding="utf-8")
    ended = run("serve", folder=tmp_path)
    assert ended.returncode == 2
    assert "config.yaml:3" in ended.stderr and "port" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


def test_a_named_file_that_is_missing_is_told_with_exit_code_2(tmp_path: Path) -> None:
    ended = run("serve", "--config", "missing.yaml", folder=tmp_path)
    assert ended.returncode == 2
    assert "missing.yaml" in ended.stderr and "Traceback" not in ended.stderr


def test_a_second_server_on_the_same_data_is_told_who_has_it(tmp_path: Path) -> None:
    with served(tmp_path) as (server, url):
        ended = run("serve", folder=tmp_path)
        assert ended.returncode == 73
        assert f"process {server.process.pid}" in ended.stderr and url in ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_ready_block_says_where_everything_is(tmp_path: Path) -> None:
    with served(tmp_path, "--log-level", "error") as (server, url):
        server.wait_for("Backends +the built-in sandbox")
        said = "".join(server.said)
    for expected in (f"{url}/docs", f"{url}/mcp", str(tmp_path / "Inbox"), str(tmp_path / "Outbox"), "config.yaml"):
        assert expected in said


SPARE = "{id: spare, host: 127.0.0.1, port: 10, enabled: false}"


def test_the_ready_block_names_the_backends_that_take_part(tmp_path: Path) -> None:
    config = f"server: {{port: 0}}\nbackends: [{SPARE}, {{id: far, host: 127.0.0.1, port: 9}}]\n"
    with served(tmp_path, "--log-level", "error", config=config) as (server, _):
        server.wait_for(r"Backends +far \(http://127.0.0.1:9\)")


def test_the_ready_block_says_when_no_backend_takes_part(tmp_path: Path) -> None:
    config = f"server: {{port: 0}}\nbackends: [{SPARE}]\n"
    with served(tmp_path, "--log-level", "error", config=config) as (server, _):
        server.wait_for("Backends +none is enabled")


def test_reload_starts_anew_when_the_file_changes(tmp_path: Path) -> None:
    with served(tmp_path, "--reload") as (server, _):
        server.wait_for("Backends +the built-in sandbox")
        config = "server: {port: 0}\nbackends: [{id: far, host: 127.0.0.1, port: 9}]\n"
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
        server.wait_for(r"Backends +far \(http://127.0.0.1:9\)")
        assert server.stop() == 0


def test_ctrl_c_ends_a_reloading_server_and_its_child_cleanly_with_exit_code_0(tmp_path: Path) -> None:
    with served(tmp_path, "--reload") as (server, _):
        server.wait_for("Backends")
        assert server.press_ctrl_c() == 0
        said = server.all_said()
        assert "backed up the database" in said  # the last thing that a clean stop does
        assert "Traceback" not in said


def test_ctrl_c_ends_a_reloading_server_that_has_not_begun_to_watch_with_exit_code_0(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {port: 0}\n", encoding="utf-8")
    with started(*SERVER, "--reload", folder=tmp_path) as server:
        server.wait_for("Reloading on changes")
        assert server.press_ctrl_c() == 0
        server.all_said()  # nobody is left who could say more


def test_the_child_of_a_reloading_server_stops_cleanly_when_its_parent_was_killed(tmp_path: Path) -> None:
    with served(tmp_path, "--reload") as (server, _):
        server.wait_for("Backends")
        server.process.kill()
        said = server.all_said()
        assert "backed up the database" in said
        assert "Traceback" not in said


def test_a_second_signal_ends_the_server_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    with served(tmp_path) as (server, _):
        server.wait_for("Backends")
        server.process.send_signal(signal.SIGTERM)
        assert server.stop(signal.SIGTERM) in (0, 128 + signal.SIGTERM)  # 0: it had stopped already
        assert "Traceback" not in server.all_said()


def test_the_documented_module_and_the_command_take_the_same_options(tmp_path: Path) -> None:
    options = ("--host", "127.0.0.1", "--port", "0", "--log-level", "debug", "--insecure-no-auth")
    for command in (SERVER, (*CLI, "serve")):
        with started(*command, *options, folder=tmp_path) as server:
            server.wait_for("API +http://127.0.0.1:[1-9]")
            assert server.stop() == 0


def test_while_a_server_runs_other_threads_come_to_their_turn_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("backends: []\n", encoding="utf-8")
    seen: list[float] = []

    async def look(*_: object, **__: object) -> None:
        seen.append(sys.getswitchinterval())

    monkeypatch.setattr(app, "serve", look)
    before = sys.getswitchinterval()
    assert serving.serve(serving.ServeChoices(config=config)) == 0
    assert seen == [pytest.approx(serving.TURN_OF_A_THREAD)]
    assert sys.getswitchinterval() == before


def test_while_a_server_runs_what_is_old_is_seldom_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("backends: []\n", encoding="utf-8")
    seen: list[tuple[int, int, int]] = []

    async def look(*_: object, **__: object) -> None:
        seen.append(gc.get_threshold())

    monkeypatch.setattr(app, "serve", look)
    before = gc.get_threshold()
    assert serving.serve(serving.ServeChoices(config=config)) == 0
    assert seen == [(*before[:2], serving.OLD_ONCE_IN)]
    assert gc.get_threshold() == before
