"""The log's folder goes away or fills up: lines are lost and counted, and the file goes on where people look for it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from orchestrator_mcp.logs import FILE_NAME, configure_logging

log = logging.getLogger("orchestrator_mcp.test_log_folder")


def wait_for(path: Path, words: str) -> None:
    """The log is written by a thread of its own."""
    deadline = time.monotonic() + 10
    while not (path.is_file() and words in path.read_text("utf-8")):
        assert time.monotonic() < deadline, f"{words!r} does not come into {path}"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="a folder with open files cannot be moved there")
def test_a_log_folder_that_was_moved_is_written_again_when_there_is_one(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "logs", tmp_path / "elsewhere"
    with configure_logging(folder, "info", console=False):
        log.info("before")
        wait_for(folder / FILE_NAME, "before")
        os.rename(folder, elsewhere)
        log.info("meanwhile")
        os.mkdir(folder)
        log.info("after")
        wait_for(folder / FILE_NAME, "after")
    written = (folder / FILE_NAME).read_text("utf-8")
    assert "meanwhile" in written or "1 log lines were lost" in written
    assert "after" not in (elsewhere / FILE_NAME).read_text("utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_stderr_that_takes_nothing_and_a_full_log_disk_stop_nothing(tmp_path: Path) -> None:
    code = """
        import logging, resource, sys
        from pathlib import Path
        from orchestrator_mcp.logs import configure_logging
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        with configure_logging(Path(sys.argv[1]), "info"):
            for number in range(1000):
                logging.getLogger("x").info("line %d", number)
        print("done")
    """
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (0, b"done\n")
    assert (tmp_path / FILE_NAME).stat().st_size <= 2000
