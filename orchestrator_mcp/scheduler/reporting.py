"""What is put on record of a render beside its files: pure."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_mcp.backends.history import HistoryEntry
from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.reports import RenderReport
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
