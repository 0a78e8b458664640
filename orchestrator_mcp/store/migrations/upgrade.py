"""Bring a database to the newest schema. Imported only when it is old: Alembic takes 0.7 s to import."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.pool import StaticPool

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.store.schema import SCHEMA_REVISION, metadata


def upgrade(connection: sqlite3.Connection, path: Path, revision: str | None) -> None:
    """Run every migration that the database lacks, in one transaction.

    Args:
        connection: the one that writes; it may hold the file locked, so there can be no other.
        path: the SQLite file, for messages.
        revision: the one it has, None when it is fresh.

    Raises:
        StartError: it was made by a newer version of this program, or cannot be changed.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise StartError(
            f"The database {path} has schema {revision}, which is newer than this program knows ({SCHEMA_REVISION}).",
            hint="Update orchestrator-mcp, or give it another data_dir.",
        )
    try:
        _migrate(connection, config, scripts)
    except (sa.exc.DBAPIError, CommandError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise StartError(
            f"The database {path} cannot be brought to schema {SCHEMA_REVISION}: {cause}.",
            hint="Nothing of it was changed. Free space on its disk, or restore a copy of the file.",
        ) from error


def _migrate(connection: sqlite3.Connection, config: Config, scripts: ScriptDirectory) -> None:
    # The driver begins no transaction before DDL, and Alembic takes SQLite for a database that cannot roll it back.
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    sa.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    with (
        engine.connect() as bound,
        EnvironmentContext(
            config, scripts, fn=lambda present, _context: scripts._upgrade_revs("head", present)
        ) as environment,
    ):
        environment.configure(connection=bound, target_metadata=metadata, render_as_batch=True)
        with bound.begin(), environment.begin_transaction():
            environment.run_migrations()
