"""Bring a database to the newest schema. Imported only when it is old: Alembic takes 0.7 s to import."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.store.schema import SCHEMA_REVISION, metadata


def upgrade(path: Path, revision: str | None) -> None:
    """Run every migration that the database lacks, in one transaction.

    Args:
        path: the SQLite file.
        revision: the one it has, None when it is fresh.

    Raises:
        StartError: it was made by a newer version of this program.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise StartError(
            f"The database {path} has schema {revision}, which is newer than this program knows ({SCHEMA_REVISION}).",
            hint="Update orchestrator-mcp, or give it another data_dir.",
        )
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=NullPool)
    with (
        engine.connect() as connection,
        EnvironmentContext(
            config, scripts, fn=lambda present, _context: scripts._upgrade_revs("head", present)
        ) as environment,
    ):
        environment.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        with connection.begin(), environment.begin_transaction():
            environment.run_migrations()
    engine.dispose()
