"""How to run, apart from the configuration; and what runs then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_mcp.domain.steps import AtStep, no_step
from orchestrator_mcp.settings import Settings

if TYPE_CHECKING:
    from orchestrator_mcp.doors.mcp.tools import AgentServer
    from orchestrator_mcp.service import JobService


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How to run, apart from the configuration.

    Attributes:
        any_port: take a free port when the configured one is taken.
        open_to_all: ask for no token, even beyond loopback.
        reload_on_hangup: read the configuration again on SIGHUP.
        takeover_after: seconds without any orchestrator, after which a stdio process that had joined one runs
            everything itself; time enough for a server that is being restarted.
        at_step: see `domain.steps`; only a chaos run gives one.
    """

    any_port: bool = False
    open_to_all: bool = False
    reload_on_hangup: bool = False
    takeover_after: float = 8.0
    at_step: AtStep = no_step


@dataclass(frozen=True, kw_only=True)
class Orchestrator:
    """A running one.

    Attributes:
        url: of its HTTP door, as this machine reaches it.
        service: what the doors call.
        agents: the MCP server, for a stdio transport.
        token_file: where the token lies that callers must send, or None.
    """

    url: str
    service: JobService
    agents: AgentServer
    settings: Settings
    token_file: Path | None
