"""What is put on record of a render beside its files: pure."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_mcp.backends.history import HistoryEntry
from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.workflows.links import inputs_of
from orchestrator_mcp.workflows.requirements import named_models


def report_of(backend: Backend, graph: Graph, entry: HistoryEntry, timings: Mapping[str, float]) -> RenderReport:
    """What is known of a render beside its files.

    Args:
        backend: where.
        graph: as it was sent.
        entry: its history.
        timings: seconds that each node ran, as far as they were heard.
    """
    stats = backend.stats
    devices = [str(device["name"]) for device in stats.devices if device.get("name")] if stats is not None else []
    return RenderReport(
        comfyui_version=(stats.version or None) if stats is not None else None,
        device=devices[0] if devices else None,
        models={target.spelled: model.name for target, model in named_models(graph)},
        node_timings={node: round(seconds, 3) for node, seconds in timings.items()},
        cached_nodes=[node for node in entry.cached_nodes if node in graph],
    )


def render_seconds(entry: HistoryEntry) -> float | None:
    """What a render took, by the backend's own clock; None where it does not say."""
    if entry.started_at_ms is None or entry.ended_at_ms is None:
        return None
    return max(0, entry.ended_at_ms - entry.started_at_ms) / 1000


def was_warm(graph: Graph, entry: HistoryEntry) -> bool | None:
    """Whether every loader's result was there already; None where that says nothing.

    A loader that ran may have found its model in memory all the same.

    Args:
        graph: as it was sent.
        entry: its history.
    """
    loaders = {target.node for target, _ in named_models(graph)}
    return True if loaders and loaders <= set(entry.cached_nodes) else None


def tells_of_speed(graph: Graph, entry: HistoryEntry) -> bool:
    """Whether the time that a render took says what such work takes: nothing that samples was cached.

    Args:
        graph: as it was sent.
        entry: its history.
    """
    known = [node for node in entry.cached_nodes if node in graph]
    return not any("steps" in inputs_of(graph, node) for node in known)
