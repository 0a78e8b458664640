"""Files and folders that this user may not use are told in a sentence, whichever command meets them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import CLI, SECONDS, environment

_SETPRIV = shutil.which("setpriv")
_ROOT = sys.platform != "win32" and os.geteuid() == 0
_NAMES = "-dac_override,-dac_read_search"
_BOUND = [str(_SETPRIV), "--bounding-set", _NAMES, f"--inh-caps={_NAMES}"] if _ROOT else []
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or (_ROOT and _SETPRIV is None), reason="nothing is forbidden to this user"
)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be entered, with a configuration and a manifest in it."""
    folder = tmp_path / "closed"
    folder.mkdir()
    for name in ("config.yaml", "shot.json", "face.png"):
        (folder / name).write_text("{}", encoding="utf-8")
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


def ended(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as somebody whom permissions bind, also where the tests run as root."""
    return subprocess.run(
        [*_BOUND, *CLI, *arguments],
        cwd=folder,
        env=environment(COLUMNS="1000"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "serve --config closed/config.yaml",
        "doctor --config closed/config.yaml",
        "stdio --config closed/config.yaml",
        "status --config closed/config.yaml",
        "backends add 127.0.0.1:8188 --id x --config closed/config.yaml",
        "submit closed/shot.json",
        "submit one -i image=closed/face.png --url http://127.0.0.1:1",
        "rerun closed/shot.json",
    ],
)
def test_what_lies_in_a_closed_folder_is_told_to_be_closed(tmp_path: Path, closed: Path, command: str) -> None:
    told = ended(*command.split(), folder=tmp_path)
    said = told.stdout + told.stderr
    assert "Traceback" not in said and told.returncode in (1, 2, 3)
    assert "Permission denied" in said or "No orchestrator answers" in said


@pytest.mark.parametrize("command", ["serve --config {}.yaml", "submit {}.json", "rerun {}.json", "submit one -i x={}"])
def test_a_name_that_is_too_long_is_told(tmp_path: Path, command: str) -> None:
    told = ended(*command.format("a" * 300).split(), folder=tmp_path)
    assert "Traceback" not in told.stderr
    assert "File name too long" in told.stderr or "No orchestrator answers" in told.stderr


@pytest.mark.parametrize("command", ["serve", "stdio"])
def test_a_data_dir_of_somebody_else_is_told_at_the_start(tmp_path: Path, closed: Path, command: str) -> None:
    (tmp_path / "config.yaml").write_text("data_dir: closed\nserver: {port: 0}\n", encoding="utf-8")
    told = ended(command, folder=tmp_path)
    assert told.returncode == 1
    assert f"Error: The data dir {closed} cannot be used: Permission denied." in told.stderr
    assert "Traceback" not in told.stderr


def test_the_doctor_names_what_is_closed_and_how_to_mend_it(tmp_path: Path, closed: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "orchestrator.log").touch(mode=0o400)
    (tmp_path / "config.yaml").write_text(
        "data_dir: closed\nworkflows_dir: [closed, absent]\nserver: {port: 0}\n", encoding="utf-8"
    )
    told = ended("doctor", folder=tmp_path)
    assert told.returncode == 1 and "Traceback" not in told.stderr
    found = [line.rstrip() for line in told.stdout.splitlines()]
    assert f"fail  data dir   {closed} cannot be written: Permission denied" in found
    assert f"fail  log dir    {logs}/orchestrator.log cannot be written" in found
    assert f"fail  workflows  {closed} cannot be read: Permission denied" in found
    assert f"fail  workflows  {tmp_path}/absent is not there" in found
    assert f"fail  database   {closed}/orchestrator.db may not be read" in found


def test_a_database_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "orchestrator.db").touch(mode=0)
    told = ended("doctor", folder=tmp_path)
    assert "orchestrator.db may not be read" in told.stdout
    assert "makes a new, empty one" not in told.stdout
