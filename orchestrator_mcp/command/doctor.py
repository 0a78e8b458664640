"""`orchestrator-mcp doctor`: looks at everything the orchestrator needs, changes nothing, and says what to mend."""

from __future__ import annotations

import json
import platform
import sqlite3
import sys
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from orchestrator_mcp import __version__
from orchestrator_mcp.command.api import Server, open_api
from orchestrator_mcp.command.check_backends import check_backends
from orchestrator_mcp.command.check_files import check_backups, check_database, check_folders
from orchestrator_mcp.command.ending import ExitCode
from orchestrator_mcp.command.findings import Finding, findings_document, findings_shown, is_healthy
from orchestrator_mcp.command.printing import print_json
from orchestrator_mcp.command.tables import paint
from orchestrator_mcp.domain.views import HealthView
from orchestrator_mcp.errors import OrchestratorError, SettingsError, StartError
from orchestrator_mcp.machine.listening import take_port
from orchestrator_mcp.machine.presence import Presence, find_running, is_held
from orchestrator_mcp.settings import Settings, load_settings
from orchestrator_mcp.settings.token_file import read_token_file

_HEALTH_SECONDS: Final = 5.0


def examine(config: Path | None, *, as_json: bool) -> int:
    """Look at everything, and print what was found.

    Args:
        config: the configuration file, or None to look for it.
        as_json: print it as JSON.

    Returns:
        The exit code: that something fails, too.
    """
    findings = anyio.run(find_all, config)
    if as_json:
        print_json(json.dumps(findings_document(findings), ensure_ascii=False, indent=2))
    else:
        paint(findings_shown(findings))
    return ExitCode.OK if is_healthy(findings) else ExitCode.FAILED


async def find_all(config: Path | None) -> list[Finding]:
    """Every finding, in the order in which a person would mend them.

    Args:
        config: the configuration file, or None to look for it.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        return [_program(), Finding(subject="config", verdict="fail", message=error.message, mend=error.hint)]
    present = find_running(settings.data_dir)
    return [
        _program(),
        *_config(settings),
        *await anyio.to_thread.run_sync(check_folders, settings),
        await _running(settings, present),
        _port(settings, present),
        await anyio.to_thread.run_sync(partial(check_database, settings.data_dir, held=is_held(settings.data_dir))),
        await anyio.to_thread.run_sync(check_backups, settings.data_dir),
        *await check_backends(settings),
    ]


def _program() -> Finding:
    python = ".".join(map(str, sys.version_info[:3]))
    said = f"orchestrator-mcp {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}, {platform.platform()}"
    return Finding(subject="program", verdict="ok", message=said)


def _config(settings: Settings) -> list[Finding]:
    file = settings.config_file
    said = str(file) if file else "no file found: the defaults, with folders in the working directory"
    warnings = [Finding(subject="config", verdict="warn", message=warning) for warning in settings.warnings]
    return [Finding(subject="config", verdict="ok", message=said), *warnings, *_tokens(settings.server.tokens_file)]


def _tokens(file: Path | None) -> list[Finding]:
    """Whether the file of further tokens, if there is one, lets the orchestrator start."""
    if file is None:
        return []
    found = partial(Finding, subject="tokens")
    try:
        count = len(read_token_file(file))
    except SettingsError as error:
        return [found(verdict="fail", message=error.message, mend=error.hint)]
    return [found(verdict="ok", message=f"{count} in {file}")]


async def _running(settings: Settings, present: Presence | None) -> Finding:
    found = partial(Finding, subject="running")
    if present is None:
        if is_held(settings.data_dir):
            return found(verdict="warn", message="an orchestrator holds the data dir and does not listen yet")
        return found(verdict="ok", message="no orchestrator runs on this configuration now")
    who = f"process {present.pid} on {present.host}, {present.url}, version {present.version}"
    try:
        with anyio.fail_after(_HEALTH_SECONDS):
            async with open_api(Server(url=present.url, token=present.token)) as api:
                health = api.read(HealthView, await api.get("/api/health"))
    except (OrchestratorError, TimeoutError) as error:
        mend = "See its log, or stop it and start it again: what was accepted is not lost."
        return found(verdict="fail", message=f"{who}: it does not answer ({error or 'too slow'})", mend=mend)
    if health.problems:
        return found(verdict="fail", message=f"{who}: {'; '.join(health.problems)}", mend="See its log.")
    if present.version != __version__:
        mend = "Stop it and start it again, so that both are the same version."
        return found(verdict="warn", message=f"{who}; this program is version {__version__}", mend=mend)
    facts = [who, f"{health.jobs_running} jobs running, {health.jobs_queued} waiting", *health.notices]
    return found(verdict="ok", message="; ".join(facts))


def _port(settings: Settings, present: Presence | None) -> Finding:
    found = partial(Finding, subject="port")
    host, port = settings.server.host, settings.server.port
    if present is not None and present.url.endswith(f":{port}"):
        return found(verdict="ok", message=f"{port} on {host} is in use by the orchestrator itself")
    try:
        take_port(host, port).close()
    except StartError as error:
        return found(verdict="fail", message=error.message, mend=error.hint)
    return found(verdict="ok", message=f"{port} on {host} is free" if port else "a free one is taken at the start")
