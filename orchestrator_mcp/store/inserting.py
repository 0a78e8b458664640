"""Inserts that every dialect writes in its own way."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_missing(dialect: sa.Dialect, table: sa.Table) -> sa.Insert:
    """An insert that leaves alone what is there already.

    Args:
        dialect: SQLAlchemy's dialect of the database.
        table: where to.
    """
    flavour = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    return flavour(table).on_conflict_do_nothing()
