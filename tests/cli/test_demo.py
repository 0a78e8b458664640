from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
from pathlib import Path

from tests.cli.program import CLI, run, started


def test_the_demo_renders_through_every_door_and_shows_where_the_pictures_lie(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    ended = run("demo", "--folder", str(folder), folder=tmp_path)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / "Outbox").glob("*/result.json")]
    assert {result["metadata"]["source"] for result in results} == {"demo-mcp", "demo-http", "demo-inbox"}
    for result in results:
        (output,) = result["outputs"]
        picture = Path(output["path"]).read_bytes()
        assert hashlib.sha256(picture).hexdigest() == output["sha256"]
        assert picture.startswith(b"\x89PNG")
        assert output["path"] in ended.stdout
    assert re.search(r"http://127\.0\.0\.1:\d+/docs", ended.stdout)
    assert "rendering, 50 % done" in ended.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


def test_the_demo_may_be_run_again_in_its_folder_but_never_in_one_with_other_things(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    for name in ("data", "Inbox", "Outbox", "logs"):
        (folder / name).mkdir(parents=True)
    assert run("demo", "--folder", str(folder), folder=tmp_path).returncode == 0
    (folder / "thesis.txt").touch()
    ended = run("demo", "--folder", str(folder), folder=tmp_path)
    assert ended.returncode == 2
    assert "thesis.txt" in ended.stderr


def test_a_demo_that_is_kept_runs_until_ctrl_c(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with started(*CLI, "demo", "--keep", "--folder", str(folder), folder=tmp_path, stdout_too=True) as demo:
        demo.wait_for("Open until you press Ctrl-C")
        demo.wait_for("Drop manifests into")
        assert demo.stop(signal.SIGINT) == 0


def test_a_demo_on_a_port_that_is_taken_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("demo", "--port", port, "--folder", str(tmp_path / "demo"), folder=tmp_path)
    assert ended.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken" in ended.stderr and "Traceback" not in ended.stderr


def test_a_demo_that_cannot_start_leaves_no_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("demo", "--port", port, folder=tmp_path, env={"TMPDIR": str(tmp_path / "temporary")})
    assert ended.returncode == 1
    assert list((tmp_path / "temporary").iterdir()) == []
