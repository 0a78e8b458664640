"""The store as the rest of the house sees it: async, durable, one writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.assets import Asset
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import Artifact, JobFailure, JobState, Outcome, Stage
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import NO_LIMITS, QueueLimits
from orchestrator_mcp.domain.placement import Candidate, Lane, choose
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.domain.situation import LastRender
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.store import accepting, assets, claiming, operations, upkeep
from orchestrator_mcp.store.backend_store import BackendStore
from orchestrator_mcp.store.backups import Backup, DamageError, make_backup
from orchestrator_mcp.store.batch_store import BatchStore
from orchestrator_mcp.store.claiming import Chooser
from orchestrator_mcp.store.job_lists import JobFilter, page_query
from orchestrator_mcp.store.places import place, places
from orchestrator_mcp.store.records import Acceptance, Forgotten, LeftBehind, NewJob, OpenAttempt, Place, StoredJob
from orchestrator_mcp.store.sqlite import Database, Transaction, storage_errors
from orchestrator_mcp.store.whole_jobs import (
    JobWithStory,
    document_of,
    job_row,
    job_with_story,
    whole_job,
)
from orchestrator_mcp.store.writer import Writer, Written

T = TypeVar("T")


class JobStore:
    """Jobs, attempts, artifacts and history in one database.

    Args:
        path: the SQLite file.
        tell: called on the event loop with each event of a committed transaction.
        exclusive: see `Database`.

    Attributes:
        batches: the same, for batches.
        backends: what outlives the process about backends.
    """

    def __init__(self, path: Path, *, tell: Callable[[JobChanged], None], exclusive: bool = False) -> None:
        self._database = Database(path, exclusive=exclusive)
        self._writer = Writer(self._database, tell=tell)
        self._exclusive = exclusive
        self._reading = self._writer.connection if exclusive else anyio.CapacityLimiter(1)
        self._backing_up = self._writer.connection if exclusive else anyio.CapacityLimiter(1)
        self.batches = BatchStore(self._writer, self._read)
        self.backends = BackendStore(self._writer, self._read)

    async def open(self) -> None:
        """Open the database and bring its schema up to date. Raises StartError."""
        await anyio.to_thread.run_sync(self._database.open, limiter=self._reading)

    async def run(self) -> None:
        """Commit what is written until `close` is called; then close the database."""
        try:
            await self._writer.run()
        finally:
            with anyio.CancelScope(shield=True), suppress(sqlite3.Error):
                await anyio.to_thread.run_sync(self._database.close, limiter=self._reading)

    def close(self) -> None:
        """Take no more writes; `run` ends when what waits is committed."""
        self._writer.close()

    async def check(self) -> str | None:
        """Look for damage; the first fault, or None. Takes seconds on a large file."""
        return await self._read(lambda _: self._database.check())

    async def back_up(self, folder: Path, now: datetime, *, spare: int) -> Backup:
        """Copy the database; ends early, and without a copy, when it is cancelled. See `make_backup`.

        Args:
            folder: where backups lie.
            now: the moment.
            spare: bytes that must stay free.

        Raises:
            StorageError: there is no sound copy; what there was before stands.
        """
        wanted = True
        held = self._database.writer if self._exclusive else None

        def work() -> Backup:
            return make_backup(self._database.path, folder, now, spare=spare, go_on=lambda: wanted, held=held)

        try:
            return await anyio.to_thread.run_sync(work, limiter=self._backing_up, abandon_on_cancel=True)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, DamageError):
                await self.check()
            raise StorageError(f"No backup of the database could be made: {error}.") from error
        finally:
            wanted = False

    @property
    def damage(self) -> str | None:
        """What is known to be damaged in the database, or None."""
        return self._database.damage

    @property
    def trouble(self) -> str | None:
        """Why the last write failed; None when it did not."""
        return self._writer.trouble

    async def try_writing(self) -> None:
        """Store something that means nothing. Raises StorageError when nothing can be stored."""
        await self._writer.write(upkeep.touch)

    async def accept(self, new: NewJob, *, limits: QueueLimits = NO_LIMITS) -> Acceptance:
        """Store a job durably and queue it.

        Raises:
            IdempotencyConflict: its key came before with another manifest.
            QueueFullError: as many jobs wait as may.
            StorageError: it cannot be stored now.
        """
        return await self._writer.write(lambda tx: accepting.accept(tx, new, limits=limits))

    async def accept_each(
        self, jobs: Sequence[NewJob], *, limits: QueueLimits = NO_LIMITS
    ) -> list[Acceptance | Exception]:
        """Store jobs durably and queue them, in one transaction.

        Returns:
            For each its acceptance, or what `accept` would have raised.

        Raises:
            StorageError: nothing is stored any more.
        """
        return await self._writer.write_each([partial(accepting.accept, new=new, limits=limits) for new in jobs])

    async def claim(
        self,
        candidates: Callable[[], Sequence[Candidate]],
        now: datetime,
        chooser: Chooser = choose,
        lanes: Sequence[Lane] | None = None,
    ) -> list[OpenAttempt]:
        """Give free slots to queued jobs; the intent to dispatch them is durable on return.

        Args:
            candidates: asked for inside the transaction, so that the newest snapshot counts.
            now: the present moment.
            chooser: the decision; called on the store's thread.
            lanes: those that a decision which goes on was made from; None to look for those with work.
        """
        return await self._writer.write(lambda tx: claiming.claim(tx, candidates(), now, chooser, lanes))

    def advance(
        self,
        held: OpenAttempt,
        stage: Stage,
        now: datetime,
        *,
        accepted_as: str | None = None,
        reason: str | None = None,
        then: Callable[[], None] | None = None,
    ) -> Written[None]:
        """A running job enters a stage; durable with the next write that somebody waits for, or a moment later.

        Args:
            held: the attempt.
            stage: the new one.
            now: since when.
            accepted_as: the prompt id under which the backend took it, when that is known now.
            reason: why, in words, where that says more than the stage.
            then: called on the event loop as soon as it is durable.

        Raises:
            LeaseLostError: when it is awaited: the attempt is no longer ours.
            StorageError: at once, or when it is awaited: it could not be stored.
        """
        return self._writer.put(
            lambda tx: operations.advance(tx, held, stage, now, accepted_as=accepted_as, reason=reason),
            then=then,
            hurry=False,
        )

    async def warn(self, held: OpenAttempt, words: str, now: datetime) -> None:
        """A running job has something more to say in its warnings. Raises LeaseLostError."""
        await self._writer.write(lambda tx: operations.warn(tx, held, words, now))

    async def finish(
        self,
        held: OpenAttempt,
        state: JobState,
        outcome: Outcome,
        now: datetime,
        *,
        reason: str,
        failure: JobFailure | None = None,
        artifacts: Sequence[Artifact] = (),
        attention: bool = False,
        report: RenderReport | None = None,
        deliver: bool = True,
    ) -> None:
        """A running job ends; see `operations.finish`. Raises LeaseLostError."""
        await self._writer.put(
            lambda tx: operations.finish(
                tx,
                held,
                state,
                outcome,
                now,
                reason=reason,
                failure=failure,
                artifacts=artifacts,
                attention=attention,
                report=report,
                deliver=deliver,
            )
        )

    async def requeue(
        self,
        held: OpenAttempt,
        outcome: Outcome,
        now: datetime,
        *,
        reason: str,
        not_before: datetime | None = None,
        avoid: bool = False,
        charge: bool = False,
    ) -> None:
        """An attempt ended without a result; its job is queued again. Raises LeaseLostError."""
        await self._writer.write(
            lambda tx: operations.requeue(
                tx, held, outcome, now, reason=reason, not_before=not_before, avoid=avoid, charge=charge
            )
        )

    async def promote_due(self, now: datetime, *, due_by: int | None = None) -> int:
        """Queue the jobs whose pause is over; how many.

        Args:
            now: the present moment.
            due_by: milliseconds by which it must end; now, unless the calendar was set back.
        """
        return await self._writer.write(lambda tx: claiming.promote_due(tx, now, due_by=due_by))

    async def next_due(self) -> int | None:
        """When the next pause is over, milliseconds since the epoch."""
        row = await self._read(lambda tx: tx.one("next_due"))
        return row[0] if row else None

    async def request_cancel(self, job_id: str, now: datetime) -> JobState:
        """Cancel or flag a job; the state that it had.

        Raises:
            NotFoundError: no such job.
            JobFinishedError: it has ended.
        """
        return await self._writer.write(lambda tx: operations.request_cancel(tx, job_id, now))

    async def take_leases(self, owner: str, backend_ids: Sequence[str]) -> dict[str, int]:
        """Own these backends; their epochs."""
        return await self._writer.write(lambda tx: upkeep.take_leases(tx, owner, backend_ids))

    async def adopt(self, epochs: dict[str, int]) -> list[OpenAttempt]:
        """Every attempt that was open when the last process ended."""
        return await self._writer.write(lambda tx: upkeep.adopt(tx, epochs))

    async def record_delivery(self, job_id: str, path: str | None) -> None:
        """The result of a job is delivered."""
        await self._writer.write(lambda tx: upkeep.record_delivery(tx, job_id, path))

    async def forget(self, before: datetime, *, count: int, enough: int | None = None) -> Forgotten:
        """Delete the oldest ended and delivered jobs; how many, and the files that nobody names any more."""
        return await self._writer.write(lambda tx: upkeep.forget(tx, before, count, enough))

    async def keep_asset(self, asset: Asset, now: datetime) -> bool:
        """Put an input file on record, or note that it was used; whether it was on record before."""
        return await self._writer.write(lambda tx: assets.keep(tx, asset, now))

    async def asset(self, sha256: str) -> Asset | None:
        """A file that is on record as an input, or as an output that could be one."""
        return await self._read(lambda tx: assets.find(tx, sha256))

    async def forget_assets(self, before: datetime, *, count: int) -> Forgotten:
        """Forget input files that nobody needs; how many, and the files that nobody names any more."""
        return await self._writer.write(lambda tx: assets.forget(tx, before, count))

    async def unused(self, hashes: Sequence[str]) -> list[str]:
        """Those files that no job names."""

        def read(tx: Transaction) -> list[str]:
            return [sha256 for sha256 in hashes if tx.one("artifact_in_use", b_sha256=sha256) is None]

        return await self._read(read)

    async def last_successes(self, *, among: int) -> dict[str, LastRender]:
        """The newest completed job of each backend that has one.

        Args:
            among: how many completed jobs are looked at, the newest first.
        """
        rows = await self._read(lambda tx: tx.all("last_successes", b_count=among))
        return {
            row["backend_id"]: LastRender(
                prompt_id=row["prompt_id"], model_key=LaneSpec.from_json(row["lane_spec"]).model_key
            )
            for row in rows
            if row["backend_id"] is not None
        }

    async def left_behind(self, since: datetime, *, limit: int) -> list[LeftBehind]:
        """Attempts whose end does not prove that their backend no longer holds the prompt, newest first.

        Args:
            since: when they ended at the earliest.
            limit: how many at the most.
        """
        rows = await self._read(lambda tx: tx.all("left_behind", b_since=to_millis(since), b_count=limit))
        return [
            LeftBehind(
                job_id=row["uid"], number=row["number"], backend_id=row["backend_id"], prompt_id=row["prompt_id"]
            )
            for row in rows
        ]

    async def finished(self) -> int:
        """How many jobs have ended and are delivered; it reads an index of them all: not a question for every job."""
        row = await self._read(lambda tx: tx.one("finished_total"))
        return int(row[0]) if row else 0

    async def stored_bytes(self) -> int:
        """How much the files of all jobs take, each file once."""
        row = await self._read(lambda tx: tx.one("stored_bytes"))
        return int(row[0]) if row else 0

    async def job(self, job_id: str) -> StoredJob:
        """Everything about a job. Raises NotFoundError."""
        return await self._read(lambda tx: whole_job(tx, job_row(tx, job_id)))

    async def standing_job(self, job_id: str) -> tuple[StoredJob, int | None]:
        """Everything about a job, and its place in its lane if it is queued. Raises NotFoundError.

        1 is the next of its lane; exact near both ends of it, a round estimate between them.
        """

        def read(tx: Transaction) -> tuple[StoredJob, int | None]:
            stored = whole_job(tx, job_row(tx, job_id))
            return stored, place(tx, stored.place) if stored.job.state is JobState.QUEUED else None

        return await self._read(read)

    async def jobs(self, wanted: JobFilter, *, before: int | None, limit: int) -> list[StoredJob]:
        """A page of jobs, newest first.

        Args:
            wanted: which.
            before: only rows older than this one.
            limit: how many at the most.
        """
        sql, parameters = page_query(wanted, before, limit)

        def read(tx: Transaction) -> list[StoredJob]:
            return [whole_job(tx, row) for row in tx.query(sql, parameters)]

        return await self._read(read)

    async def job_with_story(self, job_id: str) -> JobWithStory:
        """Everything about a job, with its graph and every change of it. Raises NotFoundError."""
        return await self._read(lambda tx: job_with_story(tx, job_id))

    async def document(self, row: int) -> str:
        """The graph of a job before its values are bound, as JSON."""
        return await self._read(lambda tx: document_of(tx, row))

    async def positions(self, wanted: Sequence[Place]) -> dict[int, int | None]:
        """The places of many queued jobs, by their rows; the more they are, the sooner it is an estimate."""
        return await self._read(lambda tx: places(tx, wanted)) if wanted else {}

    async def counts(self) -> tuple[int, int]:
        """How many jobs are queued and how many run."""

        def read(tx: Transaction) -> tuple[int, int]:
            queued, running = tx.one("queued_total"), tx.one("running_count")
            return (int(queued[0]) if queued else 0, int(running[0]) if running else 0)

        return await self._read(read)

    async def claimed_job(self, claim_id: str) -> str | None:
        """The job or batch that an Inbox claim became, or None."""

        def read(tx: Transaction) -> sqlite3.Row | None:
            return tx.one("job_by_claim", b_claim=claim_id) or tx.one("batch_by_claim", b_claim=claim_id)

        row = await self._read(read)
        return str(row["uid"]) if row else None

    async def lanes_waiting(self, most: int) -> list[LaneSpec]:
        """What the jobs that wait need, lane by lane; at most so many lanes."""
        rows = await self._read(lambda tx: tx.all("lanes_with_work"))
        return [LaneSpec.from_json(row["spec"]) for row in rows[:most]]

    async def lanes(self, *, most: int) -> list[Lane] | None:
        """The lanes with queued jobs, as placement sees them; None when they are more than so many."""
        return await self._read(lambda tx: claiming.lanes_with_work(tx, most=most))

    async def knows(self, new: NewJob) -> bool:
        """Whether a job came before under the same claim, or by the same owner under the same idempotency key."""
        claim_id = new.claim.claim_id if new.claim else None
        owner, key = new.owner, new.idempotency_key

        def read(tx: Transaction) -> bool:
            if claim_id is not None and tx.one("job_by_claim", b_claim=claim_id) is not None:
                return True
            return key is not None and tx.one("job_by_idempotency_key", b_owner=owner, b_key=key) is not None

        return await self._read(read)

    async def undelivered(self, *, limit: int, after: int = 0) -> list[str]:
        """Ended jobs whose delivery is due, oldest first."""
        rows = await self._read(lambda tx: tx.all("undelivered", b_after=after, b_count=limit))
        return [str(row["uid"]) for row in rows]

    async def _read(self, question: Callable[[Transaction], T]) -> T:
        """Ask the reading connection, on a thread."""

        def ask() -> T:
            with storage_errors(self._database):
                return question(Transaction(self._database.reader.cursor(), self._database.statements))

        return await anyio.to_thread.run_sync(ask, limiter=self._reading)
