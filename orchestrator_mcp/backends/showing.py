"""What callers see of a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.domain.blocklist import Block
from orchestrator_mcp.domain.views import BackendStatus, BackendView, BlockView, WishView
from orchestrator_mcp.domain.wishes import WishKind


def backend_view(backend: Backend, *, running: int, withheld: str | None, blocks: Sequence[Block]) -> BackendView:
    """Everything about a backend as it is now.

    Args:
        backend: one of the pool.
        running: attempts that it holds now.
        withheld: why it takes no job now, or None.
        blocks: what avoids it.
    """
    settings = backend.settings
    foreign = backend.sharing.foreign if backend.online else 0
    return BackendView(
        id=settings.id,
        name=settings.name,
        host=settings.host,
        port=settings.port,
        kind=settings.kind,
        enabled=backend.enabled,
        online=backend.online,
        status=_status(backend, running + foreign),
        reason=withheld or _on_trial(backend),
        capabilities=list(settings.capabilities),
        slots=settings.slots,
        running=running,
        foreign=foreign,
        warm=backend.warm or None if backend.online else None,
        available=settings.available,
        opens_at=backend.opens_at,
        wish=_wish(backend),
        blocked=[_block(block) for block in blocks],
        comfyui_version=backend.stats.version if backend.stats else None,
        devices=_devices(backend.stats.devices) if backend.stats else [],
        last_seen=backend.last_seen,
    )


def _status(backend: Backend, prompts: int) -> BackendStatus:
    if backend.draining:
        return "draining"
    if not backend.enabled:
        return "disabled"
    if backend.wish is not None and backend.wish.kind is WishKind.DRAINING:
        return "draining"
    if backend.wish is not None or backend.settings.paused or backend.closed is not None:
        return "paused"
    if not backend.online:
        return "offline"
    if backend.breaker.reason is not None:
        return "suspect"
    return "busy" if prompts else "idle"


def _on_trial(backend: Backend) -> str | None:
    return f"it is on trial with one job: {backend.breaker.reason}" if backend.breaker.trial else None


def _wish(backend: Backend) -> WishView | None:
    wish = backend.wish
    return WishView(kind=wish.kind.value, by=wish.by, at=wish.at, note=wish.note or None) if wish is not None else None


def _block(block: Block) -> BlockView:
    return BlockView(
        signature=block.signature,
        workflow_id=block.workflow_id,
        failures=block.failures,
        reason=block.reason,
        since=block.since,
        until=block.until,
    )


def _devices(devices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    shown = ("name", "type", "index", "vram_total", "vram_free")
    return [{key: device.get(key) for key in shown} for device in devices[:16]]
