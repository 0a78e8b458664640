"""From a batch as it is stored to what callers see: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.deadlines import is_late
from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.domain.text import told, without_secrets
from orchestrator_mcp.domain.views import Status
from orchestrator_mcp.store import StoredBatch


@dataclass(frozen=True, kw_only=True)
class BatchLive:
    """What is known of a batch beside the store.

    Attributes:
        done: the fractions that are done of the jobs that run, added up.
        seconds_left: until its last job is done; None while that is not known.
        at: the moment of which this is true.
    """

    done: float
    seconds_left: float | None
    at: datetime


def batch_view(stored: StoredBatch, live: BatchLive, base_url: str) -> BatchView:
    """The one shape of a batch on every wire.

    Args:
        stored: as it is stored.
        live: what is known beside the store.
        base_url: what urls begin with, without a slash at the end.
    """
    counts = dict.fromkeys((state.status for state in JobState), 0)
    for state, count in stored.counts.items():
        counts[state.status] += count
    gone = stored.size - stored.total
    forgotten = [f"{gone} of its jobs are no longer kept."] if gone > 0 else []
    return BatchView(
        batch_id=stored.batch_id,
        status=_status(stored, counts),
        count=stored.size,
        counts=counts,
        progress=round(min(1.0, (stored.ended + live.done) / stored.total), 4) if stored.total else 1.0,
        workflow_id=stored.workflow_id,
        varies=stored.spec.varies,
        mode=cast(Any, stored.spec.mode),
        parameters=without_secrets(stored.spec.parameters),
        submitted_at=stored.submitted_at,
        started_at=stored.started_at,
        finished_at=stored.finished_at,
        eta_seconds=round(live.seconds_left, 1) if live.seconds_left is not None else None,
        deadline=stored.deadline,
        late=is_late(stored.deadline, stored.finished_at, live.at, live.seconds_left),
        retries=stored.spec.retries,
        path=stored.delivery_path if stored.delivered else None,
        warnings=[told(warning) for warning in [*stored.spec.warnings, *forgotten]],
        attention=stored.attention,
        links=batch_links(stored.batch_id, base_url),
    )


def batch_links(batch_id: str, base_url: str) -> dict[str, str]:
    """Where to go on from a batch."""
    here = f"{base_url}/api/batch/{batch_id}"
    return {
        "self": here,
        "jobs": f"{base_url}/api/jobs?batch_id={batch_id}",
        "events": f"{here}/events",
        "stream": f"{here}/stream".replace("http", "ws", 1),
        "contact_sheet": f"{here}/contact-sheet",
    }


def _status(stored: StoredBatch, counts: Mapping[str, int]) -> Status:
    if not stored.over:
        return "running" if counts["running"] or stored.ended else "queued"
    return "failed" if counts["failed"] else "cancelled" if counts["cancelled"] else "completed"
