"""What the embedded database costs by itself, with the same durability: the bound of whoever stores anything."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from orchestrator_mcp.store.sqlite import CACHE_KIB


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast something went.

    Attributes:
        rate: jobs a second.
        processor: microseconds of processor time for each job, of this process; other work on the machine hardly shows.
    """

    rate: float
    processor: float


class Stopwatch:
    """Measures from its making."""

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def pace(self, jobs: int) -> Pace:
        """How fast so many jobs were."""
        took, used = time.perf_counter() - self._began, time.process_time() - self._used
        return Pace(rate=jobs / took, processor=used / jobs * 1e6)


LANES = """
CREATE TABLE job (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, source TEXT NOT NULL, key TEXT, lane INTEGER NOT NULL,
  priority INTEGER NOT NULL, state INTEGER NOT NULL, attempt INTEGER NOT NULL, backend TEXT, epoch INTEGER, spec TEXT
);
CREATE INDEX queue ON job (lane, priority, id) WHERE state = 0;
CREATE INDEX live ON job (backend) WHERE state = 1;
CREATE UNIQUE INDEX once ON job (source, key) WHERE key IS NOT NULL;
"""
JOBS = """
CREATE TABLE job (id INTEGER PRIMARY KEY, uid TEXT UNIQUE, state INTEGER, backend TEXT, spec TEXT, finished INTEGER);
CREATE INDEX queue ON job (id) WHERE state = 0;
CREATE TABLE attempt (
  job_id INTEGER, number INTEGER, prompt_id TEXT UNIQUE, backend TEXT, PRIMARY KEY (job_id, number)
);
"""


def connect(path: Path) -> sqlite3.Connection:
    """A database that keeps what it commits, as the product's does."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    return connection


def commits(folder: Path, count: int) -> list[float]:
    """The seconds of commits of one row each, sorted.

    Args:
        folder: where the file lies.
        count: how many.
    """
    spans = []
    with closing(connect(folder / "commits.db")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, text TEXT)")
        for _ in range(count):
            began = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO row (text) VALUES (?)", ("x" * 500,))
            connection.execute("COMMIT")
            spans.append(time.perf_counter() - began)
    return sorted(spans)


def copied_rows(source: Path, target: Path, tables: Sequence[str], most: int, *, parents: Sequence[str]) -> float:
    """How long the same rows take to be inserted anew, in one transaction, into a database of the same schema.

    It checks foreign keys, as the product's does, and grows with each call.

    Args:
        source: a database with rows.
        target: where they are inserted; made when it is absent.
        tables: of which rows are taken.
        most: rows of each table, the last ones.
        parents: the tables that these refer to; their rows are there before.

    Returns:
        Seconds.
    """
    with closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as reader, closing(connect(target)) as writer:
        writer.execute("PRAGMA foreign_keys=ON")
        if not writer.execute("SELECT 1 FROM sqlite_master").fetchone():
            for (sql,) in reader.execute(_SCHEMA):
                writer.execute(sql)
        for table in parents:
            _insert(writer, "INSERT OR IGNORE", table, reader.execute(f"SELECT * FROM {table}").fetchall())
        rows = {t: reader.execute(f"SELECT * FROM {t} ORDER BY rowid DESC LIMIT ?", (most,)).fetchall() for t in tables}
        began = time.perf_counter()
        writer.execute("BEGIN IMMEDIATE")
        for table, found in rows.items():
            _insert(writer, "INSERT", table, found[::-1])
        writer.execute("COMMIT")
        return time.perf_counter() - began


_SCHEMA = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND sql NOT LIKE '%sqlite_%'"


def _insert(writer: sqlite3.Connection, verb: str, table: str, rows: Sequence[Sequence[object]]) -> None:
    writer.executemany(f"{verb} INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)


def turnover(folder: Path, group: int, jobs: int) -> Pace:
    """Jobs that are ended and followed by the next, so many of them in each transaction, by hand-written SQL.

    The least rows from which a backend can be given the most urgent job of a lane, and that somebody who lost the job
    cannot end.

    Args:
        folder: where the file lies.
        group: jobs in one transaction.
        jobs: how many in all, at least two rounds.
    """
    rounds = max(2, jobs // group)
    with closing(connect(folder / f"turnover-{group}.db")) as connection:
        connection.executescript(LANES)
        rows = ((f"job-{number}", f"key-{number}", _SPEC) for number in range(group * (rounds + 1)))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO job VALUES (NULL, ?, 'a', ?, 1, 0, 0, 0, NULL, NULL, ?)", rows)
        connection.execute("COMMIT")
        held: list[tuple[int, int]] = []
        watch = Stopwatch()
        for _ in range(rounds + 1):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_END, held)
            found = connection.execute(_HEADS, (1, group)).fetchall()
            taken = ((f"gpu-{place}", job) for place, (job, *_) in enumerate(found))
            connection.executemany(_TAKE, taken)
            connection.execute("COMMIT")
            held = [(job, attempt + 1) for job, _, attempt, _ in found]
        return watch.pace(group * (rounds + 1))


_SPEC = '{"parameters": {"seed": 1}}'
_END = "UPDATE job SET state = 3 WHERE id = ? AND state = 1 AND attempt = ? AND epoch = 1"
_HEADS = "SELECT id, uid, attempt, spec FROM job WHERE lane = ? AND state = 0 ORDER BY priority, id LIMIT ?"
_TAKE = "UPDATE job SET state = 1, attempt = attempt + 1, backend = ?, epoch = 1 WHERE id = ? AND state = 0"


def turnover_without_lanes(folder: Path, backends: int, jobs: int) -> Pace:
    """The same with one queue for all, nobody to guard against, and every job of a moment in one transaction.

    Args:
        folder: where the file lies.
        backends: jobs in one transaction.
        jobs: how many in all, at least two rounds.
    """
    rounds = max(2, jobs // backends)
    with closing(connect(folder / f"no-lanes-{backends}.db")) as connection:
        connection.executescript(JOBS)
        connection.execute("BEGIN IMMEDIATE")
        rows = ((f"job-{number}", _SPEC) for number in range(backends * (rounds + 1)))
        connection.executemany("INSERT INTO job (uid, state, spec) VALUES (?, 0, ?)", rows)
        connection.execute("COMMIT")
        held: list[int] = []
        watch = Stopwatch()
        for _ in range(rounds + 1):
            connection.execute("BEGIN IMMEDIATE")
            for job in held:
                connection.execute("UPDATE job SET state = 3, finished = 1 WHERE id = ? AND state = 1", (job,))
            held = _taken(connection, backends)
            connection.execute("COMMIT")
        return watch.pace(backends * (rounds + 1))


def _taken(connection: sqlite3.Connection, backends: int) -> list[int]:
    found = connection.execute("SELECT id, uid, spec FROM job WHERE state = 0 ORDER BY id LIMIT ?", (backends,))
    taken = [row[0] for row in found.fetchall()]
    for number, job in enumerate(taken):
        backend = f"gpu-{number}"
        connection.execute("UPDATE job SET state = 1, backend = ? WHERE id = ? AND state = 0", (backend, job))
        connection.execute("INSERT INTO attempt VALUES (?, 1, ?, ?)", (job, f"prompt-{job}", backend))
    return taken


def turnover_of_our_rows(database: Path, backends: int, rounds: int) -> Pace:
    """The same in a filled database of the product, with every row and column that its promise needs: histories too.

    Args:
        database: nobody has it open; it has one lane, and jobs for one round more.
        backends: jobs in one transaction.
        rounds: how many transactions.
    """
    with closing(connect(database)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        seq = int(connection.execute("SELECT max(seq) FROM history").fetchone()[0])
        held: list[int] = []
        watch = Stopwatch()
        for _ in range(rounds + 1):
            connection.execute("BEGIN IMMEDIATE")
            _end(connection, held, seq)
            found = connection.execute(_PICK, (backends,)).fetchall()
            _begin(connection, found, seq + len(held))
            seq, held = seq + len(held) + len(found), [row[0] for row in found]
            connection.execute("UPDATE lane SET queued = queued - ?", (len(found),))
            connection.execute("COMMIT")
        return watch.pace(backends * (rounds + 1))


_PICK = "SELECT id, uid, spec FROM job WHERE lane_id = 1 AND state = 0 ORDER BY rank, id LIMIT ?"
_TELL = "INSERT INTO history (seq, job_id, at, state, stage, attempt, reason) VALUES (?, ?, 1, ?, ?, 1, ?)"


def _end(connection: sqlite3.Connection, held: Sequence[int], seq: int) -> None:
    numbered = list(enumerate(held, seq + 1))
    connection.executemany(
        "UPDATE job SET state = 3, stage = NULL, finished_at = 1, failure = NULL, attention = 0, delivery = 1, seq = ? "
        "WHERE id = ? AND state = 1 AND attempt = 1 AND epoch = 1",
        numbered,
    )
    connection.executemany(
        "UPDATE attempt SET ended_at = 1, outcome = 'succeeded', reason = 'rendered' WHERE job_id = ? AND number = 1",
        ((job,) for job in held),
    )
    connection.executemany(_TELL, ((number, job, 3, None, "rendered") for number, job in numbered))


def _begin(connection: sqlite3.Connection, found: Sequence[Sequence[object]], seq: int) -> None:
    numbered = [(seq + place, row[0], row[1], f"gpu-{place}") for place, row in enumerate(found, 1)]
    connection.executemany(
        "UPDATE job SET state = 1, stage = 'dispatching', attempt = 1, backend_id = ?, epoch = 1, seq = ? "
        "WHERE id = ? AND state = 0",
        ((backend, number, job) for number, job, _, backend in numbered),
    )
    connection.executemany(
        "INSERT INTO attempt (job_id, number, prompt_id, backend_id, epoch, started_at) VALUES (?, 1, ?, ?, 1, 1)",
        ((job, f"prompt-{uid}", backend) for _, job, uid, backend in numbered),
    )
    connection.executemany(_TELL, ((number, job, 1, "dispatching", None) for number, job, _, _ in numbered))
