"""Statements and the values that they are given."""

from __future__ import annotations

from orchestrator_mcp.store.sqlite import DIALECT
from orchestrator_mcp.store.statements import compile_statements


def test_rows_that_share_values_are_bound_as_each_would_be_alone() -> None:
    statement = compile_statements(DIALECT)["add_batch_jobs"]
    values = {name: f"the {name}" for name in statement.order}
    differing = ("seq", "uid", "spec")
    shared = {name: value for name, value in values.items() if name not in differing}
    rows = [(number, f"job {number}", "{}") for number in range(3)]
    alone = [statement.bind({**values, **dict(zip(differing, row, strict=True))}) for row in rows]
    assert list(statement.bind_alike(shared, differing, rows)) == alone


def test_values_that_a_statement_was_declared_with_hold_for_rows_that_share_others() -> None:
    statement = compile_statements(DIALECT)["lanes_with_work"]
    assert statement.defaults
    assert list(statement.bind_alike({}, (), [()])) == [statement.bind({})]
