"""Leases, adoption, deliveries on record, and old jobs that go. Runs on the store thread only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.jobs import Stage
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.store.records import Forgotten, OpenAttempt, open_attempt
from orchestrator_mcp.store.sqlite import Transaction


def take_leases(tx: Transaction, owner: str, backend_ids: Sequence[str]) -> dict[str, int]:
    """Own every backend; the new epochs fence whoever owned them before.

    The lock on the data dir proves the former owner dead, so leases are taken at once.
    """
    epochs = {}
    for backend_id in backend_ids:
        tx.run("add_lease", backend_id=backend_id)
        row = tx.one("take_lease", b_backend=backend_id, b_owner=owner)
        assert row is not None  # it was added a line above
        epochs[backend_id] = int(row["epoch"])
    return epochs


def adopt(tx: Transaction, epochs: dict[str, int]) -> list[OpenAttempt]:
    """Every attempt that was open when the last process ended, now under our epochs."""
    adopted = []
    for row in tx.all("running_jobs"):
        epoch = epochs.get(row["backend_id"], row["epoch"])
        tx.run("adopt_job", b_id=row["id"], b_epoch=epoch)
        tx.run("adopt_attempt", b_id=row["id"], b_attempt=row["attempt"], b_epoch=epoch)
        adopted.append(
            open_attempt(
                row,
                document=row["body"],
                lane=LaneSpec.from_json(row["lane_spec"]),
                number=row["attempt"],
                epoch=epoch,
                backend_id=row["backend_id"],
                prompt_id=row["prompt_id"],
                stage=Stage(row["stage"]) if row["stage"] else Stage.DISPATCHING,
                accepted=row["accepted_at"] is not None,
            )
        )
    return adopted


def record_delivery(tx: Transaction, job_id: str, path: str | None) -> None:
    """The result stands in Outbox, or needs no place there."""
    row = tx.one("job_by_uid", b_uid=job_id)
    if row is not None:
        tx.run("deliver_job", b_id=row["id"], b_path=path)


def forget(tx: Transaction, before: datetime, count: int, enough: int | None = None) -> Forgotten:
    """Delete the oldest ended and delivered jobs.

    Args:
        tx: the transaction.
        before: only jobs that ended before then.
        count: how many at the most.
        enough: bytes of files; once these are freed, no further job is deleted.
    """
    tx.settle()
    gone = []
    freed: dict[str, int] = {}
    for row in tx.all("oldest_finished", b_before=to_millis(before), b_count=count):
        if enough is not None and sum(freed.values()) >= enough:
            break
        gone.append(row)
        files = {str(item["sha256"]): 0 for item in tx.all("inputs_of", b_id=row["id"])}
        files |= {item["sha256"]: item["size"] for item in tx.all("artifacts_of", b_id=row["id"])}
        for name in ("forget_artifacts", "forget_inputs", "forget_attempts", "forget_history", "forget_job"):
            tx.run(name, b_id=row["id"])
        freed |= {hash_: size for hash_, size in files.items() if tx.one("artifact_in_use", b_sha256=hash_) is None}
    for document_id in {row["document_id"] for row in gone}:
        tx.run("forget_document", b_document=document_id)
    tx.known.forget_rows()
    for batch_id in {row["batch_id"] for row in gone if row["batch_id"] is not None}:
        tx.run("forget_batch", b_id=batch_id)
    return Forgotten(count=len(gone), files=freed)


def touch(tx: Transaction) -> None:
    """Change a number in the header that nobody reads: whether it can be stored is the question."""
    number = int(tx.query("PRAGMA user_version", ())[0][0])
    tx.query(f"PRAGMA user_version = {1 - min(number, 1)}", ())
