"""The statements about batches. See `statements` for how they are compiled and run.

A job that a retry has replaced keeps its batch; its index is turned to `-1 - index`, so that it counts no more.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from orchestrator_mcp.store.schema import artifact, batch, job, lane

P = sa.bindparam
_code = sa.literal_column

_LIVE: Final[tuple[sa.ColumnElement[Any], ...]] = (_code("0"), _code("1"), _code("2"))

_OURS: Final = (job.c.batch_id == P("b_batch"), job.c.batch_index >= 0)

COLUMNS: Final = {
    "add_batch": [column.name for column in batch.columns if column.name not in {"id", "delivery", "delivery_path"}],
    "add_batch_jobs": [
        "id",
        "uid",
        "owner",
        "lane_id",
        "rank",
        "state",
        "document_id",
        "workflow_id",
        "source",
        "door",
        "stem",
        "spec",
        "submitted_at",
        "rerun_of",
        "due",
        "seq",
        "batch_id",
        "batch_index",
    ],
}
"""What the inserts are given."""


def writes() -> dict[str, sa.Executable]:
    """The statements that change something."""
    return {
        "add_batch": sa.insert(batch).returning(batch.c.id),
        "add_batch_jobs": sa.insert(job),
        "end_batch": sa.update(batch)
        .where(
            batch.c.id == P("b_batch"),
            batch.c.delivery == _code("0"),
            ~sa.exists().where(job.c.batch_id == batch.c.id, job.c.state.in_(_LIVE)),
        )
        .values(delivery=_code("1")),
        "join_batch_claim": sa.update(batch)
        .where(batch.c.id == P("b_id"), batch.c.claim_id.is_(None), batch.c.delivery == _code("0"))
        .values(claim_id=P("b_claim"), claim_name=P("b_name")),
        "replace_jobs": sa.update(job).where(job.c.id == P("b_id")).values(batch_index=-1 - job.c.batch_index),
        "reopen_batch": sa.update(batch).where(batch.c.id == P("b_id")).values(delivery=_code("0"), spec=P("b_spec")),
        "deliver_batch": sa.update(batch)
        .where(batch.c.uid == P("b_uid"), batch.c.delivery == _code("1"))
        .values(delivery=_code("2"), delivery_path=P("b_path")),
        "forget_batch": sa.delete(batch).where(
            batch.c.id == P("b_id"), batch.c.delivery == _code("2"), ~sa.exists().where(job.c.batch_id == P("b_id"))
        ),
    }


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {**_batches(), **_where_they_stand(), **_jobs()}


def _batches() -> dict[str, sa.Executable]:
    return {
        "batch_by_uid": sa.select(batch).where(batch.c.uid == P("b_uid")),
        "batch_by_idempotency_key": sa.select(batch).where(
            batch.c.owner == P("b_owner"), batch.c.idempotency_key == P("b_key")
        ),
        "batch_by_claim": sa.select(batch).where(batch.c.claim_id == P("b_claim")),
        "batches_page": sa.select(batch)
        .where(batch.c.id < P("b_before"))
        .order_by(batch.c.id.desc())
        .limit(P("b_count", type_=sa.Integer)),
        "undelivered_batches": sa.select(batch.c.uid)
        .where(
            batch.c.delivery == _code("1"),
            ~sa.exists().where(job.c.batch_id == batch.c.id, job.c.delivery == _code("1")),
        )
        .order_by(batch.c.id)
        .limit(P("b_count", type_=sa.Integer)),
    }


def _where_they_stand() -> dict[str, sa.Executable]:
    """How far the jobs of a batch are."""
    return {
        "batch_tally": sa.select(
            job.c.state,
            job.c.lane_id,
            sa.func.count().label("jobs"),
            sa.func.max(job.c.id).label("last"),
            sa.func.max(job.c.rank).label("rank"),
            sa.func.min(job.c.started_at).label("started_at"),
            sa.func.max(job.c.finished_at).label("finished_at"),
            sa.func.max(job.c.attention).label("attention"),
            sa.func.max(job.c.seq).label("seq"),
        )
        .where(*_OURS)
        .group_by(job.c.state, job.c.lane_id),
        "batch_running": sa.select(job.c.uid, job.c.attempt, job.c.backend_id).where(*_OURS, job.c.state == _code("1")),
        "batch_job_ids": sa.select(job.c.uid)
        .where(*_OURS)
        .order_by(job.c.batch_index)
        .limit(P("b_count", type_=sa.Integer)),
        "batch_failures": sa.select(job.c.uid, job.c.failure)
        .where(*_OURS, job.c.state == _code("4"), job.c.failure.is_not(None))
        .order_by(job.c.batch_index)
        .limit(P("b_count", type_=sa.Integer)),
        "batch_unstarted": sa.select(job.c.uid)
        .where(*_OURS, job.c.state.in_((_code("0"), _code("2"))))
        .limit(P("b_count", type_=sa.Integer)),
        "batch_uncancelled": sa.select(job.c.uid)
        .where(*_OURS, job.c.state == _code("1"), job.c.cancel_requested_at.is_(None))
        .limit(P("b_count", type_=sa.Integer)),
    }


def _jobs() -> dict[str, sa.Executable]:
    """The jobs of a batch, in its order."""
    return {
        "batch_unlucky": sa.select(job, lane.c.spec.label("lane_spec"))
        .join(lane, lane.c.id == job.c.lane_id)
        .where(*_OURS, job.c.state.in_((_code("4"), _code("5"))))
        .order_by(job.c.batch_index),
        "batch_jobs": sa.select(job).where(*_OURS).order_by(job.c.batch_index),
        "batch_first_jobs": sa.select(job, lane.c.spec.label("lane_spec"), batch.c.uid.label("batch_uid"))
        .join(lane, lane.c.id == job.c.lane_id)
        .join(batch, batch.c.id == job.c.batch_id)
        .where(*_OURS)
        .order_by(job.c.batch_index)
        .limit(P("b_count", type_=sa.Integer)),
        "batch_artifacts": sa.select(artifact)
        .join(job, job.c.id == artifact.c.job_id)
        .where(*_OURS)
        .order_by(artifact.c.job_id, artifact.c.position),
    }
