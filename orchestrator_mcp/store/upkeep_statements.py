"""The statements about jobs that have ended: delivered, counted, forgotten. See `statements`."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator_mcp.store.schema import artifact, asset, attempt, batch, document, history, job, job_asset

P = sa.bindparam
_code = sa.literal_column


def writes() -> dict[str, sa.Executable]:
    """The statements that change something."""
    return {
        "deliver_job": sa.update(job)
        .where(job.c.id == P("b_id"))
        .values(delivery=_code("2"), delivery_path=P("b_path")),
        "forget_artifacts": sa.delete(artifact).where(artifact.c.job_id == P("b_id")),
        "forget_inputs": sa.delete(job_asset).where(job_asset.c.job_id == P("b_id")),
        "forget_attempts": sa.delete(attempt).where(attempt.c.job_id == P("b_id")),
        "forget_history": sa.delete(history).where(history.c.job_id == P("b_id")),
        "forget_job": sa.delete(job).where(job.c.id == P("b_id")),
        "forget_document": sa.delete(document).where(
            document.c.id == P("b_document"), ~sa.exists().where(job.c.document_id == P("b_document"))
        ),
    }


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {
        "undelivered": sa.select(job.c.uid)
        .where(job.c.delivery == _code("1"), job.c.id > P("b_after"))
        .order_by(job.c.id)
        .limit(P("b_count", type_=sa.Integer)),
        "oldest_finished": sa.select(job.c.id, job.c.document_id, job.c.batch_id)
        .where(
            job.c.delivery == _code("2"),
            job.c.finished_at < P("b_before"),
            ~sa.exists().where(batch.c.id == job.c.batch_id, batch.c.delivery != _code("2")),
        )
        .order_by(job.c.finished_at)
        .limit(P("b_count", type_=sa.Integer)),
        "finished_total": sa.select(sa.func.count()).where(job.c.delivery == _code("2")),
        "inputs_of": sa.select(job_asset.c.sha256).where(job_asset.c.job_id == P("b_id")),
        "artifact_in_use": sa.union_all(
            sa.select(artifact.c.job_id).where(artifact.c.sha256 == P("b_sha256")),
            sa.select(job_asset.c.job_id).where(job_asset.c.sha256 == P("b_sha256")),
            sa.select(asset.c.size).where(asset.c.sha256 == P("b_sha256")),
        ).limit(1),
        "stored_bytes": sa.select(sa.func.coalesce(sa.func.sum(_distinct_files().c.size), 0)),
    }


def _distinct_files() -> sa.Subquery:
    """Every stored file once, however many jobs made it or begin with it."""
    both = sa.union_all(
        sa.select(artifact.c.sha256, artifact.c.size), sa.select(asset.c.sha256, asset.c.size)
    ).subquery()
    return sa.select(both.c.sha256, sa.func.max(both.c.size).label("size")).group_by(both.c.sha256).subquery()
