"""What is asked often is looked up in its own index, whatever else waits: how SQLite means to answer each."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator_mcp.store import JobStore
from orchestrator_mcp.store.schema import metadata
from orchestrator_mcp.store.sqlite import DIALECT
from orchestrator_mcp.store.statements import compile_statements

QUEUE, ROW = "USING INDEX ix_job_queue (lane_id=?", "job USING INTEGER PRIMARY KEY (rowid=?)"
EXPECTED = {
    "lane_head": [f"{QUEUE})"],
    "pick_jobs": [f"{QUEUE})"],
    "surroundings": [
        f"{QUEUE} AND rank<?)",
        f"{QUEUE} AND rank>?)",
        f"{QUEUE} AND rank=? AND due=? AND id<?)",
        f"{QUEUE} AND rank=? AND due=? AND id>?)",
    ],
    "surroundings_dated": [
        f"{QUEUE} AND rank=? AND due<?)",
        f"{QUEUE} AND rank=? AND due>?)",
        f"{QUEUE} AND rank=? AND due=? AND id<?)",
        f"{QUEUE} AND rank=? AND due=? AND id>?)",
    ],
    "lane_end": [f"{QUEUE})"],
    "due_jobs": ["INDEX ix_job_due (not_before<?)"],
    "next_due": ["INDEX ix_job_due"],
    "children_of": ["USING INDEX ix_dependency_parent (parent_id=?)", ROW],
    "undelivered": ["INDEX ix_job_delivery (id>?)"],
    "left_behind": ["INDEX ix_attempt_left_behind (ended_at>?)"],
    "oldest_finished": ["INDEX ix_job_finished (finished_at<?)"],
}


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_statement_reads_its_index_and_sorts_nothing_long(name: str, store: JobStore, path: Path) -> None:
    statement = compile_statements(DIALECT)[name]
    with closing(sqlite3.connect(path)) as connection:
        steps = [
            row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", [1] * len(statement.order))
        ]
    assert all(any(expected in step for step in steps) for expected in EXPECTED[name]), steps
    others = [step for step in steps if "ix_job_state" in step or step == "SCAN job"]
    assert not others, steps
    assert name == "children_of" or not any("TEMP B-TREE" in step for step in steps), steps


async def test_every_index_that_is_written_is_read_by_some_statement(store: JobStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        plans = "\n".join(
            row[3]
            for statement in compile_statements(DIALECT).values()
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", [1] * len(statement.order))
        )
    declared = {str(index.name) for table in metadata.tables.values() for index in table.indexes if not index.unique}
    assert {name for name in declared if f"INDEX {name}" not in plans} == set()
