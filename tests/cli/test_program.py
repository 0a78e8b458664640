from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_mcp import __version__
from tests.cli.program import ROOT, environment, run

COMMANDS = ["serve", "stdio", "demo", "submit", "status", "cancel", "backends", "workflows", "sandbox", "doctor"]
HEAVY = ("mcp", "alembic", "sqlalchemy", "starlette", "uvicorn", "httpx", "pydantic", "anyio", "PIL")


def test_help_needs_none_of_the_heavy_packages(tmp_path: Path) -> None:
    code = f"import sys, orchestrator_mcp.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert (said.stdout, said.stderr) == ("[]\n", "")


def test_the_version_is_told(tmp_path: Path) -> None:
    ended = run("--version", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, f"orchestrator-mcp {__version__}\n")


def test_every_command_explains_itself(tmp_path: Path) -> None:
    ended = run("--help", folder=tmp_path)
    assert ended.returncode == 0
    for command in (
        "serve",
        "stdio",
        "demo",
        "submit",
        "status",
        "cancel",
        "backends",
        "workflows",
        "sandbox",
        "doctor",
    ):
        assert f" {command} " in ended.stdout


def test_an_unknown_command_is_wrong_usage(tmp_path: Path) -> None:
    ended = run("sumbit", folder=tmp_path)
    assert ended.returncode == 2
    assert "sumbit" in ended.stderr


@pytest.mark.parametrize("options", [("--fault", "nope"), ("--ports", "9-1"), ("--model", "nofolder")])
def test_the_sandbox_refuses_what_it_does_not_know(tmp_path: Path, options: tuple[str, str]) -> None:
    ended = run("sandbox", *options, folder=tmp_path)
    assert ended.returncode == 1
    assert "Error: The sandbox cannot start" in ended.stderr and "Traceback" not in ended.stderr


def test_nothing_here_depends_on_the_working_directory_being_the_checkout(tmp_path: Path) -> None:
    assert ROOT not in tmp_path.parents
    ended = run("workflows", "--url", "http://127.0.0.1:1", folder=tmp_path)
    assert ended.returncode == 3
