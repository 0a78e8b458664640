"""One orchestrator for each data dir: tried with a second process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.machine.presence import LOCK_NAME, NOTE_NAME, announce, find_running, hold_data_dir, is_held

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from orchestrator_mcp.machine.presence import announce, hold_data_dir

folder = Path(sys.argv[1])
with hold_data_dir(folder):
    if "silent" not in sys.argv:
        announce(folder, url="http://127.0.0.1:9800", token_file=None, version="9.9")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Another orchestrator on the same data dir: ends when its stdin does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_whoever_holds_the_data_dir_is_found_with_its_address(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        found = find_running(tmp_path)
        assert found is not None
        assert (found.pid, found.url, found.version, found.token) == (process.pid, "http://127.0.0.1:9800", "9.9", None)
        assert is_held(tmp_path)


def test_a_second_start_is_refused_and_says_who_has_the_data_dir(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        with pytest.raises(StartError) as refused, hold_data_dir(tmp_path):
            pass
        for word in (str(tmp_path), str(process.pid), "http://127.0.0.1:9800", "9.9", "another data_dir"):
            assert word in str(refused.value)
        assert (tmp_path / NOTE_NAME).exists(), "the note of the one that runs stays"


def test_one_that_is_just_starting_holds_the_data_dir_and_cannot_be_found_yet(tmp_path: Path) -> None:
    with other_process(tmp_path, "silent"):
        assert is_held(tmp_path)
        assert find_running(tmp_path) is None
        with pytest.raises(StartError, match="just starting"), hold_data_dir(tmp_path):
            pass


def test_one_that_was_killed_does_not_run_although_its_note_is_there(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        process.kill()
        process.wait(timeout=20)
        assert (tmp_path / NOTE_NAME).exists()
        assert find_running(tmp_path) is None
        assert not is_held(tmp_path)
        with hold_data_dir(tmp_path):
            assert is_held(tmp_path)


def test_one_that_ends_takes_its_note_with_it(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert not (tmp_path / NOTE_NAME).exists()
    assert find_running(tmp_path) is None


def test_looking_never_keeps_a_start_from_its_data_dir(tmp_path: Path) -> None:
    """Whoever looks takes the lock for a moment; a start waits that long."""
    looker = "import sys\nfrom pathlib import Path\nfrom orchestrator_mcp.machine.presence import is_held\n"
    looker += "print(flush=True)\nwhile True: is_held(Path(sys.argv[1]))"
    (tmp_path / LOCK_NAME).touch()
    command = [sys.executable, "-c", looker, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(500):
                with hold_data_dir(tmp_path):
                    pass
        finally:
            process.kill()


def test_a_folder_that_nobody_used_is_free_and_looking_makes_nothing_in_it(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        assert not is_held(folder)
        assert find_running(folder) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"null", b'{"pid": 1}', b"\xff\xfe", b'{"url": "x", "odd": 1}'])
def test_a_note_that_is_garbage_is_none(tmp_path: Path, note: bytes) -> None:
    with other_process(tmp_path, "silent"):
        (tmp_path / NOTE_NAME).write_bytes(note)
        assert find_running(tmp_path) is None


def test_the_token_is_read_from_its_file_when_it_may_be(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    with hold_data_dir(tmp_path):
        announce(tmp_path, url="http://127.0.0.1:1", token_file=token_file, version="1")
        found = find_running(tmp_path)
        assert found is not None
        assert found.pid == os.getpid()
        assert found.token is None
        token_file.write_text("secret\n", encoding="ascii")
        assert found.token == "secret"
        token_file.write_bytes(b"\xff")
        assert found.token is None


def test_a_data_dir_that_cannot_be_made_stops_the_start_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StartError, match=r"cannot be used: .*Check data_dir"),
        hold_data_dir(tmp_path / "file" / "data"),
    ):
        pass
