"""The program as its users run it, for clients that are programs of their own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import CLI, ROOT, served


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of an orchestrator with the built-in sandbox."""
    folder = tmp_path / "farm"
    folder.mkdir()
    with served(folder) as (_, address):
        yield address


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """How a host starts an orchestrator that runs everything itself.

    Hosts keep most of their environment to themselves, so the program must be found without it.
    """
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "config.yaml").write_text("server: {port: 0}\n", encoding="utf-8")
    script = tmp_path / "orchestrator-mcp"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(CLI)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return [str(script), "stdio", "--config", str(folder / "config.yaml")]


@pytest.fixture
def target(transport: str, request: pytest.FixtureRequest) -> list[str]:
    """What a client is pointed at for a transport."""
    if transport == "stdio":
        started: list[str] = request.getfixturevalue("command")
        return started
    return [f"{request.getfixturevalue('url')}/{'sse' if transport == 'sse' else 'mcp'}"]
