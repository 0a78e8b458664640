"""What the embedded database costs by itself, with the same durability: the bound of whoever stores anything."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

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


def copied_rows(source: Path, target: Path, tables: Sequence[str], most: int) -> float:
    """How long the same rows take to be inserted anew, in one transaction, into a new database of the same schema.

    Args:
        source: a database with rows.
        target: the new one.
        tables: of which rows are taken.
        most: rows of each table, the last ones.

    Returns:
        Seconds.
    """
    with closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as reader, closing(connect(target)) as writer:
        schema = [row[0] for row in reader.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        rows = {t: reader.execute(f"SELECT * FROM {t} ORDER BY rowid DESC LIMIT ?", (most,)).fetchall() for t in tables}
        for sql in schema:
            if "sqlite_" not in sql:
                writer.execute(sql)
        began = time.perf_counter()
        writer.execute("BEGIN IMMEDIATE")
        for table, found in rows.items():
            writer.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(found[0]))})", reversed(found))
        writer.execute("COMMIT")
        return time.perf_counter() - began


def turnover(folder: Path, backends: int, jobs: int) -> float:
    """Jobs a second that are ended and followed by the next, so many of them in each transaction, by hand-written SQL.

    Args:
        folder: where the file lies.
        backends: jobs in one transaction.
        jobs: how many in all, at least two rounds.
    """
    rounds = max(2, jobs // backends)
    with closing(connect(folder / f"turnover-{backends}.db")) as connection:
        connection.executescript(JOBS)
        connection.execute("BEGIN IMMEDIATE")
        rows = ((f"job-{number}", '{"parameters": {"seed": 1}}') for number in range(backends * rounds))
        connection.executemany("INSERT INTO job (uid, state, spec) VALUES (?, 0, ?)", rows)
        connection.execute("COMMIT")
        held: list[int] = []
        began = time.perf_counter()
        for _ in range(rounds + 1):
            connection.execute("BEGIN IMMEDIATE")
            for job in held:
                connection.execute("UPDATE job SET state = 3, finished = 1 WHERE id = ? AND state = 1", (job,))
            held = _taken(connection, backends)
            connection.execute("COMMIT")
        return backends * rounds / (time.perf_counter() - began)


def _taken(connection: sqlite3.Connection, backends: int) -> list[int]:
    found = connection.execute("SELECT id, uid, spec FROM job WHERE state = 0 ORDER BY id LIMIT ?", (backends,))
    taken = [row[0] for row in found.fetchall()]
    for number, job in enumerate(taken):
        backend = f"gpu-{number}"
        connection.execute("UPDATE job SET state = 1, backend = ? WHERE id = ? AND state = 0", (backend, job))
        connection.execute("INSERT INTO attempt VALUES (?, 1, ?, ?)", (job, f"prompt-{job}", backend))
    return taken
