"""The statements that show jobs. See `statements` for how they are compiled and run."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator_mcp.store.schema import artifact, attempt, batch, document, history, job, lane

P = sa.bindparam
_code = sa.literal_column


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {
        "job_by_uid": sa.select(job, lane.c.spec.label("lane_spec"), batch.c.uid.label("batch_uid"))
        .join(lane, lane.c.id == job.c.lane_id)
        .outerjoin(batch, batch.c.id == job.c.batch_id)
        .where(job.c.uid == P("b_uid")),
        "newest_uids": sa.select(job.c.uid).order_by(job.c.id.desc()).limit(P("b_count")),
        "attempts_of": sa.select(attempt).where(attempt.c.job_id == P("b_id")).order_by(attempt.c.number),
        "artifacts_of": sa.select(artifact).where(artifact.c.job_id == P("b_id")).order_by(artifact.c.position),
        "history_of": sa.select(history).where(history.c.job_id == P("b_id")).order_by(history.c.seq),
        "document_of": sa.select(document.c.body)
        .join(job, job.c.document_id == document.c.id)
        .where(job.c.id == P("b_id")),
        "queued_total": sa.select(sa.func.coalesce(sa.func.sum(lane.c.queued), 0)),
        "running_count": sa.select(sa.func.count()).where(job.c.state == _code("1")),
    }
