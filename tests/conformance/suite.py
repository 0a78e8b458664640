"""Runs the official conformance suite, and reads what it found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import yaml

from tests.foreign import FOREIGN, node_of

SUITE = FOREIGN / "node_modules/@modelcontextprotocol/conformance/dist/index.js" if FOREIGN else None
BASELINE = Path(__file__).with_name("baseline.yaml")
_STAMP = re.compile(r"^server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z$")
_PASSED = {"SUCCESS", "INFO"}


def missing() -> str | None:
    """What keeps the suite from running here; None when nothing does."""
    if FOREIGN is None or SUITE is None:
        return "FOREIGN_CLIENTS names no folder, see docs/mcp.md"
    if not SUITE.is_file():
        return f"the conformance suite is not in {FOREIGN}"
    return None if node_of(FOREIGN) else "no Node.js of version 22 or later"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check that did not simply pass.

    Attributes:
        name: `scenario:check`.
        status: FAILURE, WARNING or SKIPPED.
        message: what the suite says.
    """

    name: str
    status: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a run of the suite found.

    Attributes:
        passed: how many checks passed, of each scenario that ran.
        others: every other check.
    """

    passed: dict[str, int]
    others: tuple[Finding, ...]


def baseline(server: str, revision: str) -> dict[str, str]:
    """What is known not to pass, as `scenario:check` -> the reason."""
    known: dict[str, str] = yaml.safe_load(BASELINE.read_text(encoding="utf-8"))[server][revision] or {}
    return known


async def run_suite(url: str, revision: str, folder: Path) -> Found:
    """Run every scenario that a revision of the protocol requires, and those beside it.

    Args:
        url: of the server's MCP door.
        revision: of the protocol.
        folder: for the suite's own records.
    """
    assert FOREIGN is not None and SUITE is not None
    node = node_of(FOREIGN)
    assert node is not None
    records = folder / f"records-{revision}"
    shutil.rmtree(records, ignore_errors=True)
    command = [node, str(SUITE), "server", "--url", url, "--requirements", revision, "-o", str(records)]
    ended = await anyio.run_process(command, check=False, stderr=subprocess.STDOUT, cwd=folder)
    passed: dict[str, int] = {}
    others: list[Finding] = []
    for scenario, checks in _records(records):
        passed[scenario] = sum(check["status"] in _PASSED for check in checks)
        others += [
            Finding(
                name=f"{scenario}:{check['id']}", status=check["status"], message=str(check.get("errorMessage") or "")
            )
            for check in checks
            if check["status"] not in _PASSED
        ]
    assert passed, ended.stdout.decode("utf-8", "replace")
    return Found(passed=passed, others=tuple(others))


def _records(folder: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for file in sorted(folder.glob("*/checks.json")):
        named = _STAMP.match(file.parent.name)
        assert named is not None, file
        yield named["scenario"], json.loads(file.read_text(encoding="utf-8"))
