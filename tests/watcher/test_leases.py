from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_mcp.files import NotRegularError
from watcher import leases
from watcher.leases import HeldFile, has_writer

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="leases are Linux's")


@LINUX
def test_a_writer_is_seen_until_it_closes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    assert has_writer(path) is False
    with path.open("a"):
        assert has_writer(path) is True
    assert has_writer(path) is False


@LINUX
def test_a_reader_is_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    with path.open("rb"):
        assert has_writer(path) is False


@LINUX
def test_writers_that_come_while_the_lease_is_asked_for_harm_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    script = (
        "import sys\nfrom pathlib import Path\nfrom watcher.leases import has_writer\n"
        "seen = {has_writer(Path(sys.argv[1])) for _ in range(20_000)}\nprint(seen <= {True, False})"
    )
    asking = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True)
    while asking.poll() is None:
        with path.open("a"):
            pass
    output, _ = asking.communicate(timeout=30)
    assert (asking.returncode, output) == (0, "True\n")


@pytest.mark.parametrize("ask", [True, False])
def test_a_held_file_is_known_again_where_it_was_moved_to(tmp_path: Path, ask: bool) -> None:
    path, moved = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text("{}")
    with HeldFile(path, ask=ask) as file:
        path.rename(moved)
        assert file.is_still(moved)
        assert not file.is_still(path)


@pytest.mark.parametrize("ask", [True, False])
def test_a_held_file_that_was_replaced_or_written_to_is_another(tmp_path: Path, ask: bool) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    with HeldFile(path, ask=ask) as file:
        (tmp_path / "b.json").write_text("{}")
        (tmp_path / "b.json").rename(path)
        assert not file.is_still(path)


@LINUX
def test_a_writer_that_came_and_has_written_nothing_yet_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    with HeldFile(path) as file:
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        assert not file.is_still(path)


def test_a_pipe_is_no_file_that_could_have_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRegularError):
        has_writer(tmp_path / "pipe")


def test_a_system_without_leases_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    spec = importlib.util.spec_from_file_location("leases_without_fcntl", leases.__file__)
    assert spec is not None and spec.loader is not None
    portable = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(portable)
    path = tmp_path / "a.json"
    path.write_text("{}")
    assert portable.has_writer(path) is None
    with portable.HeldFile(path) as file:
        assert file.is_still(path)
