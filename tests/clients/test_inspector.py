"""MCP Inspector's command line on every transport: its checks of the tools' schemas, and calls."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import environment
from tests.foreign import FOREIGN, node_of, without

SECONDS = 90
NODE = node_of(FOREIGN) if FOREIGN else None
INSPECTOR = (
    FOREIGN / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
    if FOREIGN
    else Path("inspector")
)

pytestmark = [
    pytest.mark.clients,
    pytest.mark.xdist_group("clients"),
    pytest.mark.skipif(NODE is None or without(INSPECTOR), reason="MCP Inspector is not in FOREIGN_CLIENTS"),
]


@pytest.fixture
def way(transport: str, era: list[str], target: list[str]) -> list[str]:
    """The end of the command line; over stdio the configuration is found in the folder."""
    if transport == "stdio":
        return ["--cwd", str(Path(target[-1]).parent), *target[: target.index("--config")]]
    return ["--transport", transport, "--server-url", target[0], *era]


ways = pytest.mark.parametrize(
    ("transport", "era"),
    [("http", ["--protocol-era", "modern"]), ("http", ["--protocol-era", "legacy"]), ("sse", []), ("stdio", [])],
    ids=["http, 2026", "http, older", "sse", "stdio"],
)


def inspect(way: list[str], *options: str, home: Path) -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    return subprocess.run(
        [NODE, str(INSPECTOR), "--cli", "-q", "--format", "json", *options, *way],
        env=environment(HOME=str(home)),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def result_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)["result"]
    return found


@ways
def test_the_schemas_of_the_tools_have_no_fault(way: list[str], tmp_path: Path) -> None:
    ended = inspect(way, "--method", "tools/list", "--strict", home=tmp_path)
    assert len(result_of(ended)["tools"]) == 7
    assert ended.stderr.strip() == ""


@ways
def test_a_job_is_queued_and_a_mistake_is_told(way: list[str], tmp_path: Path) -> None:
    call = ("--method", "tools/call", "--tool-name", "submit_job", "--tool-arg", "workflow_id=my_workflow_001")
    queued = result_of(inspect(way, *call, 'parameters={"steps":3}', home=tmp_path))
    # As a client that knows tasks it may follow the job to its end, and show that.
    assert queued["structuredContent"]["status"] in ("accepted", "completed")
    refused = inspect(way, *call, "sampler=1", home=tmp_path)
    assert refused.returncode == 5 and "sampler" in refused.stdout
