"""The programs in which agents live: where each keeps its MCP servers, and how it writes one down.

Sources: the documentation of each program, for Claude Code, Codex and Gemini CLI also what their own `mcp add` writes,
and for opencode the schema of its settings. No entry ever holds a token: it names the environment variable that does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import platformdirs

TOKEN_VARIABLE: Final = "ORCHESTRATOR_TOKEN"
SLOW_START: Final = 60  # seconds that a host waits which would otherwise give up after ten
LONG_CALL: Final = 120  # seconds: a call waits for 45 at most

Transport = Literal["stdio", "http"]
"""How a host reaches the orchestrator: it starts `orchestrator-mcp stdio` itself, or calls one that runs already."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """How a host starts the orchestrator: no path of it is relative, for every host has another working folder."""

    program: str
    arguments: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an orchestrator listens.

    Attributes:
        url: of its MCP door over HTTP.
        token: whether it asks for one.
    """

    url: str
    token: bool


@dataclass(frozen=True, kw_only=True)
class AgentHost:
    """A program in which an agent lives.

    Attributes:
        title: its name.
        file: where it keeps the servers of this user.
        group: the key under which they stand.
        toml: whether the file is TOML; otherwise it is JSON.
        comments: whether its JSON may have comments.
        started: the entry for a server that it starts.
        reached: the entry for one that runs; None where it can have none on this machine.
    """

    title: str
    file: Callable[[], Path]
    group: str
    started: Callable[[Command], dict[str, Any]]
    reached: Callable[[Address], dict[str, Any]] | None
    toml: bool = False
    comments: bool = False


def _plain(command: Command) -> dict[str, Any]:
    return {"command": command.program, "args": list(command.arguments)}


def _typed(command: Command) -> dict[str, Any]:
    return {"type": "stdio", **_plain(command)}


def _patient(command: Command) -> dict[str, Any]:
    return {**_plain(command), "startup_timeout_sec": SLOW_START, "tool_timeout_sec": LONG_CALL}


def _reached(key: str, variable: str, **more: str) -> Callable[[Address], dict[str, Any]]:
    """An entry for a server that runs.

    Args:
        key: what the host calls the address.
        variable: how it writes an environment variable.
        more: what else the entry says.
    """

    def entry(address: Address) -> dict[str, Any]:
        headers = {"headers": {"Authorization": f"Bearer {variable}"}} if address.token else {}
        return {**more, key: address.url, **headers}

    return entry


def _started_by_opencode(command: Command) -> dict[str, Any]:
    whole = [command.program, *command.arguments]
    return {"type": "local", "command": whole, "timeout": SLOW_START * 1000}


def _reached_by_codex(address: Address) -> dict[str, Any]:
    token = {"bearer_token_env_var": TOKEN_VARIABLE} if address.token else {}
    return {"url": address.url, **token, "tool_timeout_sec": LONG_CALL}


def _at_home(*parts: str) -> Callable[[], Path]:
    return lambda: Path.home().joinpath(*parts)


def _among_settings(program: str, *parts: str) -> Callable[[], Path]:
    """In the folder that the system has for settings: %APPDATA%, ~/Library/Application Support, ~/.config."""
    return lambda: Path(platformdirs.user_config_path(program, appauthor=False, roaming=True)).joinpath(*parts)


HOSTS: Final[dict[str, AgentHost]] = {
    "claude-desktop": AgentHost(
        title="Claude Desktop",
        file=_among_settings("Claude", "claude_desktop_config.json"),
        group="mcpServers",
        started=_plain,
        reached=None,
    ),
    "claude-code": AgentHost(
        title="Claude Code",
        file=_at_home(".claude.json"),
        group="mcpServers",
        started=_typed,
        reached=_reached("url", f"${{{TOKEN_VARIABLE}}}", type="http"),
    ),
    "cursor": AgentHost(
        title="Cursor",
        file=_at_home(".cursor", "mcp.json"),
        group="mcpServers",
        started=_plain,
        reached=_reached("url", f"${{env:{TOKEN_VARIABLE}}}"),
        comments=True,
    ),
    "vscode": AgentHost(
        title="VS Code",
        file=_among_settings("Code", "User", "mcp.json"),
        group="servers",
        started=_typed,
        reached=_reached("url", f"${{env:{TOKEN_VARIABLE}}}", type="http"),
        comments=True,
    ),
    "codex": AgentHost(
        title="Codex",
        file=_at_home(".codex", "config.toml"),
        group="mcp_servers",
        started=_patient,
        reached=_reached_by_codex,
        toml=True,
    ),
    "gemini": AgentHost(
        title="Gemini CLI",
        file=_at_home(".gemini", "settings.json"),
        group="mcpServers",
        started=_plain,
        reached=_reached("url", f"${{{TOKEN_VARIABLE}}}", type="http"),
        comments=True,
    ),
    "opencode": AgentHost(
        title="opencode",
        file=_at_home(".config", "opencode", "opencode.json"),
        group="mcp",
        started=_started_by_opencode,
        reached=_reached("url", f"{{env:{TOKEN_VARIABLE}}}", type="remote"),
        comments=True,
    ),
}
