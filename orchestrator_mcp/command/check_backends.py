"""The doctor's look at the farm: every backend is asked directly, all at once."""

from __future__ import annotations

from functools import partial
from typing import Final

import anyio

from orchestrator_mcp.backends.comfy import INTERRUPT_BY_ID, ComfyClient
from orchestrator_mcp.command.findings import Finding, Verdict
from orchestrator_mcp.command.tables import device_text
from orchestrator_mcp.errors import BackendError
from orchestrator_mcp.settings import BackendSettings, Settings

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 5.0
_AT_ONCE: Final = 64
_OLD: Final = ".".join(map(str, INTERRUPT_BY_ID))


async def check_backends(settings: Settings) -> list[Finding]:
    """Ask every backend for its version, devices and queue.

    One that does not answer is a warning while another one does, because machines of a farm are switched off; when
    none answers, nothing can be rendered.

    Args:
        settings: the configuration.
    """
    if not settings.backends:
        said = "none configured: the built-in sandbox draws placeholder pictures"
        return [
            Finding(subject="backends", verdict="ok", message=said, mend="Name your ComfyUI servers in config.yaml.")
        ]
    asked = [backend for backend in settings.backends if backend.enabled]
    answers: dict[str, Finding] = {}
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(backend: BackendSettings) -> None:
        async with limit:
            answers[backend.id] = await check_backend(backend, settings)

    async with anyio.create_task_group() as tasks:
        for backend in asked:
            tasks.start_soon(ask, backend, name=backend.id)
    none_answers = all(finding.verdict == "fail" for finding in answers.values())
    return [_weighed(backend, answers.get(backend.id), none_answers) for backend in settings.backends]


async def check_backend(backend: BackendSettings, settings: Settings) -> Finding:
    """Ask one backend.

    Args:
        backend: which.
        settings: the configuration.
    """
    quick = settings.scheduling.model_copy(
        update={"connect_timeout": CONNECT_SECONDS, "probe_timeout": ANSWER_SECONDS, "post_timeout": ANSWER_SECONDS}
    )
    found = partial(Finding, subject=f"backend {backend.id}")
    try:
        async with ComfyClient(backend, scheduling=quick, limits=settings.limits) as client:
            stats = await client.stats()
            queued = await client.queue_remaining()
    except BackendError as error:
        mend = error.hint or f"Is ComfyUI running there, started with --listen? Try {backend.url} in a browser."
        return found(verdict="fail", message=f"{backend.url}: {error.message}", mend=mend)
    devices = [device_text(device) for device in stats.devices]
    said = (
        f"{backend.url}: ComfyUI {stats.version or 'of unknown version'}, {', '.join([*devices, f'{queued} queued'])}"
    )
    if stats.version_tuple < INTERRUPT_BY_ID:
        mend = f"Update ComfyUI to {_OLD} or newer: older ones can only stop whatever runs, not one job."
        return found(verdict="warn", message=said, mend=mend)
    return found(verdict="ok", message=said)


def _weighed(backend: BackendSettings, answer: Finding | None, none_answers: bool) -> Finding:
    if answer is None:
        return Finding(subject=f"backend {backend.id}", verdict="ok", message=f"{backend.url}: disabled in config.yaml")
    verdict: Verdict = "warn" if answer.verdict == "fail" and not none_answers else answer.verdict
    return Finding(subject=answer.subject, verdict=verdict, message=answer.message, mend=answer.mend)
