"""Every statement of the hot path, declared once in SQLAlchemy Core and compiled once for the dialect.

Run on the raw driver connection they are as fast as hand-written SQL; `Connection.execute()` is a quarter of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.store import asset_statements, backend_statements, batch_statements, place_statements
from orchestrator_mcp.store.schema import (
    DOUBTFUL_ENDS,
    artifact,
    asset,
    attempt,
    batch,
    dependency,
    document,
    history,
    job,
    job_asset,
    lane,
    lease,
)

P = sa.bindparam
_code = sa.literal_column
_from_inbox = (job.c.claim_id.is_not(None), job.c.door == _code(f"'{Door.INBOX.value}'"))


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A statement as the driver wants it.

    Attributes:
        sql: with `?` placeholders.
        order: the parameter behind each placeholder.
        defaults: values of parameters that were fixed when the statement was declared.
    """

    sql: str
    order: tuple[str, ...]
    defaults: Mapping[str, Any]

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The parameters in the order of their placeholders. Raises KeyError for a missing one."""
        if self.defaults:
            values = {**self.defaults, **values}
        return tuple(map(values.__getitem__, self.order))

    def bind_alike(
        self, shared: Mapping[str, Any], names: Sequence[str], rows: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[Any, ...]]:
        """The parameters of many rows that differ in some values only; a third of what `bind` costs for each.

        Args:
            shared: the values that all rows have.
            names: of the values that differ.
            rows: those, in the order of their names.
        """
        fixed = {**self.defaults, **shared}
        behind = tuple(fixed.values())
        places = {name: place for place, name in enumerate([*names, *fixed])}
        order = [places[name] for name in self.order]
        return (tuple(map((row + behind).__getitem__, order)) for row in rows)


def _insert_missing(dialect: sa.Dialect, table: sa.Table) -> sa.Insert:
    flavour = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    return flavour(table).on_conflict_do_nothing()


def _held(number: int) -> sa.ColumnElement[bool]:
    """The job is in this state, on this attempt, under this epoch: the fence of every write of a runner."""
    return sa.and_(
        job.c.id == P("b_id"),
        job.c.state == _code(str(number)),
        job.c.attempt == P("b_attempt"),
        job.c.epoch == P("b_epoch"),
    )


def _writes(dialect: sa.Dialect) -> dict[str, sa.Executable]:
    open_attempt = (attempt.c.job_id == P("b_id"), attempt.c.number == P("b_attempt"))
    return {
        "add_document": _insert_missing(dialect, document),
        "add_lane": _insert_missing(dialect, lane),
        "count_lane": sa.update(lane)
        .where(lane.c.id == P("b_lane"))
        .values(queued=lane.c.queued + P("b_queued"), held=lane.c.held + P("b_held")),
        "add_job": sa.insert(job),
        "add_history": sa.insert(history),
        "take_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("0"))
        .values(
            state=_code("1"),
            stage=P("b_stage"),
            attempt=job.c.attempt + 1,
            backend_id=P("b_backend"),
            epoch=P("b_epoch"),
            started_at=sa.func.coalesce(job.c.started_at, P("b_now")),
            sandbox=P("b_sandbox"),
            seq=P("b_seq"),
        ),
        "add_attempt": sa.insert(attempt),
        "set_spec": sa.update(job).where(_held(1)).values(spec=P("b_spec"), seq=P("b_seq")),
        "set_stage": sa.update(job).where(_held(1)).values(stage=P("b_stage"), seq=P("b_seq")),
        "accept_attempt": sa.update(attempt)
        .where(*open_attempt)
        .values(accepted_at=sa.func.coalesce(attempt.c.accepted_at, P("b_now")), prompt_id=P("b_prompt")),
        "end_attempt": sa.update(attempt)
        .where(*open_attempt)
        .values(ended_at=P("b_now"), outcome=P("b_outcome"), reason=P("b_reason"), report=P("b_report")),
        "finish_job": sa.update(job)
        .where(_held(1))
        .values(
            state=P("b_state"),
            stage=sa.null(),
            finished_at=P("b_now"),
            failure=P("b_failure"),
            attention=P("b_attention"),
            delivery=sa.case((sa.or_(P("b_deliver"), *_from_inbox), _code("1")), else_=_code("2")),
            seq=P("b_seq"),
        ),
        "requeue_job": sa.update(job)
        .where(_held(1))
        .values(
            state=P("b_state"),
            stage=sa.null(),
            lane_id=P("b_lane"),
            charged=job.c.charged + P("b_charge"),
            not_before=P("b_not_before"),
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
        "flag_cancel": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("1"))
        .values(cancel_requested_at=sa.func.coalesce(job.c.cancel_requested_at, P("b_now")), seq=P("b_seq")),
        "join_claim": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.claim_id.is_(None), job.c.state.in_([_code("0"), _code("1"), _code("2")]))
        .values(claim_id=P("b_claim"), claim_name=P("b_name")),
        "promote_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("2"))
        .values(state=_code("0"), not_before=sa.null(), seq=P("b_seq")),
        "add_dependency": sa.insert(dependency),
        "set_pending": sa.update(job).where(job.c.id == P("b_id")).values(pending=P("b_pending")),
        "release_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("2"), job.c.pending > 0)
        .values(pending=job.c.pending - 1, spec=P("b_spec")),
        "unlink_children": sa.delete(dependency).where(dependency.c.parent_id == P("b_parent")),
        "unlink_parents": sa.delete(dependency).where(dependency.c.child_id == P("b_child")),
        "keep_input": _insert_missing(dialect, job_asset),
        "add_artifact": sa.insert(artifact),
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
        "add_lease": _insert_missing(dialect, lease),
        "take_lease": sa.update(lease)
        .where(lease.c.backend_id == P("b_backend"))
        .values(owner=P("b_owner"), epoch=lease.c.epoch + 1)
        .returning(lease.c.epoch),
        "adopt_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("1"), job.c.epoch < P("b_epoch"))
        .values(epoch=P("b_epoch")),
        "adopt_attempt": sa.update(attempt).where(*open_attempt).values(epoch=P("b_epoch")),
    }


def _distinct_files() -> sa.Subquery:
    """Every stored file once, however many jobs made it or begin with it."""
    both = sa.union_all(
        sa.select(artifact.c.sha256, artifact.c.size), sa.select(asset.c.sha256, asset.c.size)
    ).subquery()
    return sa.select(both.c.sha256, sa.func.max(both.c.size).label("size")).group_by(both.c.sha256).subquery()


_PICKED: Final = (
    "id",
    "uid",
    "attempt",
    "charged",
    "lane_id",
    "batch_id",
    "document_id",
    "workflow_id",
    "stem",
    "cancel_requested_at",
    "spec",
)
"""What an attempt needs of its job: a row of all columns takes twice as long to read."""


def _reads() -> dict[str, sa.Executable]:
    head = (
        sa.select(job.c.rank, job.c.submitted_at, job.c.due)
        .where(job.c.lane_id == P("b_lane"), job.c.state == _code("0"))
        .order_by(job.c.rank, job.c.due, job.c.id)
        .limit(1)
    )
    pick = (
        sa.select(*(job.c[name] for name in _PICKED))
        .where(job.c.lane_id == P("b_lane"), job.c.state == _code("0"))
        .order_by(job.c.rank, job.c.due, job.c.id)
        .limit(P("b_count", type_=sa.Integer))
        .with_for_update(skip_locked=True, of=job)
    )
    completed = (
        sa.select(job.c.id, job.c.backend_id)
        .where(job.c.state == _code("3"))
        .order_by(job.c.id.desc())
        .limit(P("b_count", type_=sa.Integer))
        .subquery()
    )
    newest = (
        sa.select(completed.c.backend_id, sa.func.max(completed.c.id).label("id"))
        .group_by(completed.c.backend_id)
        .subquery()
    )
    return {
        "document_by_id": sa.select(document.c.body).where(document.c.id == P("b_id")),
        "document_by_hash": sa.select(document.c.id).where(document.c.hash == P("b_hash")),
        "lane_by_key": sa.select(lane).where(lane.c.key == P("b_key")),
        "lane_by_id": sa.select(lane).where(lane.c.id == P("b_lane")),
        "lane_count": sa.select(sa.func.count()).select_from(lane),
        "lanes_with_work": sa.select(lane).where(lane.c.queued > 0),
        "lane_head": head,
        "lane_end": sa.select(job.c.due)
        .where(job.c.lane_id == P("b_lane"), job.c.state == _code("0"))
        .order_by(job.c.rank.desc(), job.c.due.desc(), job.c.id.desc())
        .limit(1),
        "pick_jobs": pick,
        "queued_total": sa.select(sa.func.coalesce(sa.func.sum(lane.c.queued), 0)),
        "waiting_total": sa.select(sa.func.coalesce(sa.func.sum(lane.c.queued + lane.c.held), 0)),
        "waiting_of": sa.select(sa.func.coalesce(sa.func.sum(lane.c.queued + lane.c.held), 0)).where(
            lane.c.source.in_([P("b_source"), P("b_bucket")])
        ),
        "job_by_uid": sa.select(job, lane.c.spec.label("lane_spec"), batch.c.uid.label("batch_uid"))
        .join(lane, lane.c.id == job.c.lane_id)
        .outerjoin(batch, batch.c.id == job.c.batch_id)
        .where(job.c.uid == P("b_uid")),
        "newest_uids": sa.select(job.c.uid).order_by(job.c.id.desc()).limit(P("b_count")),
        "job_by_idempotency_key": sa.select(job.c.id, job.c.uid, job.c.body_hash, job.c.submitted_at, job.c.spec).where(
            job.c.owner == P("b_owner"), job.c.idempotency_key == P("b_key")
        ),
        "job_by_claim": sa.select(job.c.uid, job.c.submitted_at, job.c.spec).where(job.c.claim_id == P("b_claim")),
        "attempts_of": sa.select(attempt).where(attempt.c.job_id == P("b_id")).order_by(attempt.c.number),
        "artifacts_of": sa.select(artifact).where(artifact.c.job_id == P("b_id")).order_by(artifact.c.position),
        "history_of": sa.select(history).where(history.c.job_id == P("b_id")).order_by(history.c.seq),
        "document_of": sa.select(document.c.body)
        .join(job, job.c.document_id == document.c.id)
        .where(job.c.id == P("b_id")),
        "running_jobs": sa.select(
            job, document.c.body, lane.c.spec.label("lane_spec"), attempt.c.accepted_at, attempt.c.prompt_id
        )
        .join(document, document.c.id == job.c.document_id)
        .join(lane, lane.c.id == job.c.lane_id)
        .join(attempt, sa.and_(attempt.c.job_id == job.c.id, attempt.c.number == job.c.attempt))
        .where(job.c.state == _code("1"))
        .order_by(job.c.id),
        "due_jobs": sa.select(job.c.id, job.c.uid, job.c.lane_id, job.c.attempt)
        .with_hint(job, "INDEXED BY ix_job_due", "sqlite")
        .where(job.c.state == _code("2"), job.c.not_before <= P("b_now"))
        .order_by(job.c.not_before)
        .limit(500),
        "next_due": sa.select(sa.func.min(job.c.not_before))
        .with_hint(job, "INDEXED BY ix_job_due", "sqlite")
        .where(job.c.state == _code("2")),
        "cancel_flag": sa.select(job.c.cancel_requested_at).where(job.c.id == P("b_id")),
        "running_count": sa.select(sa.func.count()).where(job.c.state == _code("1")),
        "oldest_finished": sa.select(job.c.id, job.c.document_id, job.c.batch_id)
        .where(
            job.c.delivery == _code("2"),
            job.c.finished_at < P("b_before"),
            ~sa.exists().where(batch.c.id == job.c.batch_id, batch.c.delivery != _code("2")),
        )
        .order_by(job.c.finished_at)
        .limit(P("b_count", type_=sa.Integer)),
        "running_spec": sa.select(job.c.spec, job.c.stage).where(_held(1)),
        "last_successes": sa.select(newest.c.backend_id, attempt.c.prompt_id, lane.c.spec.label("lane_spec"))
        .join(job, job.c.id == newest.c.id)
        .join(lane, lane.c.id == job.c.lane_id)
        .join(attempt, sa.and_(attempt.c.job_id == job.c.id, attempt.c.number == job.c.attempt)),
        "left_behind": sa.select(job.c.uid, attempt.c.number, attempt.c.backend_id, attempt.c.prompt_id)
        .join(job, job.c.id == attempt.c.job_id)
        .where(
            attempt.c.ended_at > P("b_since"),
            attempt.c.outcome.in_([_code(f"'{outcome}'") for outcome in DOUBTFUL_ENDS]),
        )
        .order_by(attempt.c.ended_at.desc())
        .limit(P("b_count", type_=sa.Integer)),
        "any_dependency": sa.select(dependency.c.child_id).limit(1),
        "children_of": sa.select(job.c.id, job.c.uid, job.c.lane_id, job.c.pending, job.c.spec, job.c.batch_id)
        .with_hint(job, "NOT INDEXED", "sqlite")  # but by its number: not through everything that waits
        .join(dependency, dependency.c.child_id == job.c.id)
        .where(dependency.c.parent_id == P("b_parent"), job.c.state == _code("2"))
        .order_by(job.c.id),
        "open_parents": sa.select(job.c.uid, job.c.state)
        .join(dependency, dependency.c.parent_id == job.c.id)
        .where(dependency.c.child_id == P("b_child"))
        .order_by(job.c.id),
        "inputs_of": sa.select(job_asset.c.sha256).where(job_asset.c.job_id == P("b_id")),
        "artifact_in_use": sa.union_all(
            sa.select(artifact.c.job_id).where(artifact.c.sha256 == P("b_sha256")),
            sa.select(job_asset.c.job_id).where(job_asset.c.sha256 == P("b_sha256")),
            sa.select(asset.c.size).where(asset.c.sha256 == P("b_sha256")),
        ).limit(1),
        "finished_total": sa.select(sa.func.count()).where(job.c.delivery == _code("2")),
        "stored_bytes": sa.select(sa.func.coalesce(sa.func.sum(_distinct_files().c.size), 0)),
        "undelivered": sa.select(job.c.uid)
        .where(job.c.delivery == _code("1"), job.c.id > P("b_after"))
        .order_by(job.c.id)
        .limit(P("b_count", type_=sa.Integer)),
    }


def compile_statements(dialect: sa.Dialect) -> dict[str, Compiled]:
    """Turn every statement into the dialect's text, once.

    Args:
        dialect: SQLAlchemy's dialect of the database.
    """
    insert_columns = {
        "add_document": ["hash", "body"],
        "add_lane": ["key", "spec", "source"],
        "add_job": [c.name for c in job.columns if c.server_default is None and c.name not in _SET_LATER]
        + ["id", "due", "seq"],
        "add_history": [column.name for column in history.columns],
        "add_attempt": ["job_id", "number", "prompt_id", "backend_id", "epoch", "started_at"],
        "add_artifact": [column.name for column in artifact.columns],
        "add_dependency": [column.name for column in dependency.columns],
        "keep_input": [column.name for column in job_asset.columns],
        "add_lease": ["backend_id"],
        **asset_statements.COLUMNS,
        **backend_statements.COLUMNS,
        **batch_statements.COLUMNS,
    }
    statements = {
        **_writes(dialect),
        **_reads(),
        **asset_statements.writes(dialect),
        **asset_statements.reads(),
        **backend_statements.writes(),
        **backend_statements.reads(),
        **batch_statements.writes(),
        **batch_statements.reads(),
        **place_statements.reads(),
    }
    return {name: _compile(statement, dialect, insert_columns.get(name)) for name, statement in statements.items()}


_SET_LATER = {"id", "stage", "backend_id", "epoch", "not_before", "started_at", "finished_at", "failure"} | {
    "cancel_requested_at",
    "delivery_path",
    "batch_id",
    "batch_index",
}


def _compile(statement: sa.Executable, dialect: sa.Dialect, columns: Sequence[str] | None) -> Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
    order = tuple(compiled.positiontup or ())
    given_later = {name for name in order if name.startswith("b_") or name in (columns or ())}
    fixed = {name: value for name, value in compiled.params.items() if name not in given_later}
    return Compiled(sql=str(compiled), order=order, defaults=fixed)
