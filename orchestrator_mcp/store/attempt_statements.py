"""The statements by which an attempt goes on and ends, and a job with it. See `statements`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.store.schema import artifact, attempt, job

P = sa.bindparam
_code = sa.literal_column

COLUMNS: Final = {"add_artifact": [column.name for column in artifact.columns]}
"""What the insert is given."""

_FROM_INBOX: Final = (job.c.claim_id.is_not(None), job.c.door == _code(f"'{Door.INBOX.value}'"))
_OPEN: Final = (attempt.c.job_id == P("b_id"), attempt.c.number == P("b_attempt"))


def writes() -> dict[str, sa.Executable]:
    """The statements that change something."""
    return {
        "set_spec": sa.update(job).where(_held()).values(spec=P("b_spec"), seq=P("b_seq")),
        "set_stage": sa.update(job)
        .where(_held())
        .values(stage=P("b_stage"), started_at=sa.func.coalesce(job.c.started_at, P("b_begun")), seq=P("b_seq")),
        "accept_attempt": sa.update(attempt)
        .where(*_OPEN)
        .values(
            started_at=sa.case((attempt.c.accepted_at.is_(None), P("b_now")), else_=attempt.c.started_at),
            accepted_at=sa.func.coalesce(attempt.c.accepted_at, P("b_now")),
            prompt_id=P("b_prompt"),
        ),
        "add_artifact": sa.insert(artifact),
        "flag_cancel": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("1"))
        .values(cancel_requested_at=sa.func.coalesce(job.c.cancel_requested_at, P("b_now")), seq=P("b_seq")),
        "requeue_job": sa.update(job)
        .where(_held())
        .values(
            state=P("b_state"),
            stage=sa.null(),
            lane_id=P("b_lane"),
            charged=job.c.charged + P("b_charge"),
            not_before=P("b_not_before"),
            seq=P("b_seq"),
        ),
        **_ends(),
    }


def _ends() -> dict[str, sa.Executable]:
    return {
        "end_attempt": sa.update(attempt)
        .where(*_OPEN)
        .values(ended_at=P("b_now"), outcome=P("b_outcome"), reason=P("b_reason"), report=P("b_report")),
        "finish_job": sa.update(job)
        .where(_held())
        .values(
            state=P("b_state"),
            stage=sa.null(),
            finished_at=P("b_now"),
            failure=P("b_failure"),
            attention=P("b_attention"),
            delivery=sa.case((sa.or_(P("b_deliver"), *_FROM_INBOX), _code("1")), else_=_code("2")),
            seq=P("b_seq"),
        ),
        "finish_unstarted": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state.in_([_code("0"), _code("2")]))
        .values(
            state=P("b_state"),
            finished_at=P("b_now"),
            cancel_requested_at=P("b_cancelled"),
            failure=P("b_failure"),
            delivery=_code("1"),
            seq=P("b_seq"),
        ),
    }


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {
        "running_spec": sa.select(job.c.spec, job.c.stage).where(_held()),
        "cancel_flag": sa.select(job.c.cancel_requested_at).where(job.c.id == P("b_id")),
    }


def _held() -> sa.ColumnElement[bool]:
    """The job runs, on this attempt, under this epoch: the fence of every write of a runner."""
    return sa.and_(
        job.c.id == P("b_id"),
        job.c.state == _code("1"),
        job.c.attempt == P("b_attempt"),
        job.c.epoch == P("b_epoch"),
    )
