"""A job put together from all of its rows."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from orchestrator_mcp.domain.jobs import like_job_ids
from orchestrator_mcp.errors import NotFoundError
from orchestrator_mcp.store.records import StoredJob, stored_job
from orchestrator_mcp.store.sqlite import Transaction

_LOOKED_AT: Final = 1_000  # newest jobs whose ids an unknown one is compared with

_WHERE: Final = "list_jobs and GET /api/jobs show those that are there."


@dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """One change of a job."""

    seq: int
    at: int
    state: int
    stage: str | None
    attempt: int
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class JobWithStory:
    """A job, and how it came to stand where it does.

    Attributes:
        stored: the job.
        history: every change of it, oldest first.
        document: its graph before its values are bound, as JSON.
    """

    stored: StoredJob
    history: list[HistoryRow]
    document: str


def job_row(tx: Transaction, job_id: str) -> sqlite3.Row:
    """The row of a job, joined with its lane and batch.

    Raises:
        NotFoundError: there is none; it names ids of new jobs that may have been meant.
    """
    row = tx.one("job_by_uid", b_uid=job_id)
    if row is None:
        newest = (known["uid"] for known in tx.all("newest_uids", b_count=_LOOKED_AT))
        raise NotFoundError("job", job_id, near=like_job_ids(job_id, newest), otherwise=_WHERE)
    return row


def whole_job(tx: Transaction, row: sqlite3.Row) -> StoredJob:
    """Everything about a job.

    Args:
        tx: reads what belongs to it.
        row: the job's, joined with its lane and batch.
    """
    return stored_job(
        row,
        tx.all("attempts_of", b_id=row["id"]),
        tx.all("artifacts_of", b_id=row["id"]),
        tx.all("open_parents", b_child=row["id"]) if row["pending"] else [],
    )


def job_with_story(tx: Transaction, job_id: str) -> JobWithStory:
    """Everything about a job, with its graph and every change of it. Raises NotFoundError."""
    row = job_row(tx, job_id)
    return JobWithStory(
        stored=whole_job(tx, row), history=history_of(tx, row["id"]), document=document_of(tx, row["id"])
    )


def history_of(tx: Transaction, row: int) -> list[HistoryRow]:
    """Every change of a job, oldest first."""
    return [
        HistoryRow(
            seq=item["seq"],
            at=item["at"],
            state=item["state"],
            stage=item["stage"],
            attempt=item["attempt"],
            reason=item["reason"],
        )
        for item in tx.all("history_of", b_id=row)
    ]


def document_of(tx: Transaction, row: int) -> str:
    """The graph of a job before its values are bound, as JSON."""
    found = tx.one("document_of", b_id=row)
    return str(found["body"]) if found else "{}"
