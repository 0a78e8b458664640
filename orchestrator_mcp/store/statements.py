"""Every statement of the hot path, declared once in SQLAlchemy Core and compiled once for the dialect.

Run on the raw driver connection they are as fast as hand-written SQL; `Connection.execute()` is a quarter of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from orchestrator_mcp.store import (
    accept_statements,
    asset_statements,
    attempt_statements,
    backend_statements,
    batch_statements,
    chain_statements,
    job_statements,
    place_statements,
    queue_statements,
    start_statements,
    upkeep_statements,
)

_COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    **accept_statements.COLUMNS,
    **queue_statements.COLUMNS,
    **attempt_statements.COLUMNS,
    **chain_statements.COLUMNS,
    **start_statements.COLUMNS,
    **asset_statements.COLUMNS,
    **backend_statements.COLUMNS,
    **batch_statements.COLUMNS,
}


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
        """The parameters of many rows that differ in some values only; a tenth of what `bind` costs for each.

        Args:
            shared: the values that all rows have.
            names: of the values that differ.
            rows: those, in the order of their names.
        """
        fixed = {**self.defaults, **shared}
        behind = tuple(fixed.values())
        places = {name: place for place, name in enumerate([*names, *fixed])}
        order = [places[name] for name in self.order]
        if len(order) < 2:  # of one place `itemgetter` gives what stands there, and no tuple of it
            return (tuple((row + behind)[place] for place in order) for row in rows)
        return map(itemgetter(*order), (row + behind for row in rows))


def compile_statements(dialect: sa.Dialect) -> dict[str, Compiled]:
    """Turn every statement into the dialect's text, once.

    Args:
        dialect: SQLAlchemy's dialect of the database.
    """
    statements: dict[str, sa.Executable] = {
        **accept_statements.writes(dialect),
        **accept_statements.reads(),
        **queue_statements.writes(),
        **queue_statements.reads(),
        **attempt_statements.writes(),
        **attempt_statements.reads(),
        **chain_statements.writes(dialect),
        **chain_statements.reads(),
        **start_statements.writes(dialect),
        **start_statements.reads(),
        **upkeep_statements.writes(),
        **upkeep_statements.reads(),
        **job_statements.reads(),
        **asset_statements.writes(dialect),
        **asset_statements.reads(),
        **backend_statements.writes(),
        **backend_statements.reads(),
        **batch_statements.writes(),
        **batch_statements.reads(),
        **place_statements.reads(),
    }
    return {name: _compile(statement, dialect, _COLUMNS.get(name)) for name, statement in statements.items()}


def _compile(statement: sa.Executable, dialect: sa.Dialect, columns: Sequence[str] | None) -> Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
    order = tuple(compiled.positiontup or ())
    given_later = {name for name in order if name.startswith("b_") or name in (columns or ())}
    fixed = {name: value for name, value in compiled.params.items() if name not in given_later}
    return Compiled(sql=str(compiled), order=order, defaults=fixed)
