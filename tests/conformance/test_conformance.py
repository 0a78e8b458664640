"""The official conformance suite against the agents' door, in both eras of the protocol.

What is known not to pass stands in `baseline.yaml`, each with its reason; the lists are exact, so that a check which
begins to pass, or stops, is seen.
"""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.app import Choices, orchestrator
from orchestrator_mcp.doors.mcp import tools
from orchestrator_mcp.doors.mcp.resources import is_known
from orchestrator_mcp.settings import Settings, load_settings
from tests.conformance.fixture_server import SCHEME, FixtureServer, FixtureTasks
from tests.conformance.suite import Found, baseline, missing, run_suite

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.xdist_group("conformance"),  # scenarios have deadlines: not two suites at once
]

REVISIONS = ("2026-07-28", "2025-11-25")
SECONDS = 180.0
NEEDS_NO_FIXTURE = {
    "2026-07-28": {
        "caching",
        "completion-complete",
        "dns-rebinding-protection",
        "http-header-validation",
        "prompts-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "server-stateless",
        "tools-call-error",
        "tools-list",
    },
    "2025-11-25": {
        "completion-complete",
        "dns-rebinding-protection",
        "ping",
        "prompts-list",
        "resources-list",
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-multiple-streams",
        "tools-call-error",
        "tools-list",
    },
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "config.yaml"
    config.write_text("server: {port: 0}\n", encoding="utf-8")
    return load_settings(config, environ={})


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[str]:
    with anyio.fail_after(SECONDS):
        async with orchestrator(settings, Choices()) as running:
            yield f"{running.url}/mcp"


def unexpected(found: Found, known: dict[str, str]) -> str:
    """Every check that did not pass and has no reason, and every reason that is out of date; empty when all is well."""
    names = [finding.name for finding in found.others]
    new = [
        f"{one.status} {one.name}: {one.message}"
        for one in found.others
        if not any(fnmatch.fnmatchcase(one.name, pattern) for pattern in known)
    ]
    old = [
        f"passes now, take it out of the baseline: {pattern}" for pattern in known if not fnmatch.filter(names, pattern)
    ]
    return "\n".join([*new, *old])


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_program_itself_does_what_the_protocol_asks(
    revision: str, settings: Settings, tmp_path: Path
) -> None:
    wanted = NEEDS_NO_FIXTURE[revision]
    async with served(settings) as url:
        found = await run_suite(url, revision, tmp_path)
    assert wanted <= found.passed.keys()
    assert all(found.passed[scenario] for scenario in wanted)
    looked_at = Found(
        passed=found.passed, others=tuple(one for one in found.others if one.name.partition(":")[0] in wanted)
    )
    assert unexpected(looked_at, baseline("program", revision)) == ""


@pytest.mark.filterwarnings(
    "ignore::mcp.shared.exceptions.MCPDeprecationWarning"
)  # the older era's sampling and logging are deprecated
@pytest.mark.parametrize("revision", REVISIONS)
async def test_with_what_the_suite_calls_every_requirement_is_met(
    revision: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "AgentServer", FixtureServer)
    monkeypatch.setattr("orchestrator_mcp.doors.mcp.tools.JobTasks", FixtureTasks)
    monkeypatch.setattr(
        "orchestrator_mcp.doors.mcp.updates.is_known", lambda uri: uri.startswith(SCHEME) or is_known(uri)
    )
    async with served(settings) as url:
        found = await run_suite(url, revision, tmp_path)
    assert sum(found.passed.values()) > 60
    assert unexpected(found, baseline("with_fixtures", revision)) == ""
