"""The file: made, upgraded, refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from orchestrator_mcp.domain.jobs import Outcome
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.errors import StartError
from orchestrator_mcp.store import migrations
from orchestrator_mcp.store.schema import SCHEMA_REVISION, metadata
from orchestrator_mcp.store.sqlite import Database
from tests.store.building import look, new_job, opened


def test_the_migrations_make_exactly_the_tables_that_the_statements_were_written_for(path: Path) -> None:
    database = Database(path)
    database.open()
    database.close()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    made = dict(look(path, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    declared = {
        str(index.name): str(sa.schema.CreateIndex(index).compile(dialect=sa.dialects.sqlite.dialect()))
        for table in metadata.tables.values()
        for index in table.indexes
    }
    assert {name: " ".join(sql.split()) for name, sql in made.items()} == declared
    assert look(path, "SELECT version_num FROM alembic_version") == [(SCHEMA_REVISION,)]


@pytest.mark.parametrize("exclusive", [False, True], ids=["local", "network share"])
async def test_what_was_accepted_is_there_when_the_file_is_opened_again(path: Path, exclusive: bool) -> None:
    new = new_job()
    async with opened(path, exclusive=exclusive) as store:
        await store.accept(new)
        assert (await store.job(new.job_id)).job.job_id == new.job_id
    async with opened(path, exclusive=exclusive) as store:
        assert (await store.job(new.job_id)).job.workflow_id == "card"


def test_two_processes_on_a_network_share_cannot_both_have_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator_mcp.store.sqlite.BUSY_TIMEOUT", 0.01)
    first, second = Database(path, exclusive=True), Database(path, exclusive=True)
    first.open()
    with pytest.raises(StartError, match="locked"):
        second.open()
    first.close()


def test_a_database_of_a_newer_version_is_refused_in_a_sentence_and_left_as_it_is(path: Path) -> None:
    database = Database(path)
    database.open()
    database.writer.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StartError) as refused:
        Database(path).open()
    assert str(refused.value) == (
        f"The database {path} has schema 9999, which is newer than this program knows ({SCHEMA_REVISION}). "
        "Update orchestrator-mcp, or give it another data_dir."
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough for a header" * 40, b"SQLite format 3\x00"])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StartError, match=r"cannot be opened.*doctor"):
        Database(path).open()
    assert path.read_bytes() == content


def test_a_folder_in_the_place_of_the_database_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StartError, match="cannot be opened"):
        Database(path).open()


def test_a_migration_that_fails_halfway_changes_nothing_and_can_be_repeated(path: Path) -> None:
    in_the_way = sqlite3.connect(path)
    in_the_way.execute("CREATE TABLE history (made_by_somebody_else)")
    in_the_way.close()
    with pytest.raises(StartError, match=r"cannot be brought to schema .*already exists"):
        Database(path).open()
    assert look(path, "SELECT name FROM sqlite_master") == [("history",)]

    in_the_way = sqlite3.connect(path)
    in_the_way.execute("DROP TABLE history")
    in_the_way.close()
    database = Database(path)
    database.open()
    assert database.check() is None
    database.close()


def test_damage_is_found_by_looking_for_it(path: Path) -> None:
    database = Database(path)
    database.open()
    database.writer.execute("CREATE TABLE filler (words)")
    database.writer.executemany("INSERT INTO filler VALUES (?)", [(f"{n:0500d}",) for n in range(200)])
    (root,) = database.writer.execute("SELECT rootpage FROM sqlite_master WHERE name = 'filler'").fetchone()
    (size,) = database.writer.execute("PRAGMA page_size").fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 64)
    database = Database(path)
    database.open()
    assert database.check() is not None
    database.close()


def test_the_reading_connection_cannot_write(path: Path) -> None:
    database = Database(path)
    database.open()
    with pytest.raises(sqlite3.OperationalError):
        database.reader.execute("DELETE FROM job")
    database.close()


async def test_a_database_of_the_first_schema_is_upgraded_with_every_job_that_it_holds(path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = sa.create_engine(f"sqlite:///{path}")
    scripts = ScriptDirectory.from_config(config)
    with (
        engine.connect() as connection,
        EnvironmentContext(config, scripts, fn=lambda at, _: scripts._upgrade_revs("0001", at)) as environment,
    ):
        environment.configure(connection=connection, target_metadata=metadata)
        with environment.begin_transaction():
            environment.run_migrations()
        connection.exec_driver_sql("INSERT INTO document (id, hash, body) VALUES (1, 'h', '{}')")
        lane = LaneSpec(source="s").to_json()
        connection.exec_driver_sql("INSERT INTO lane (id, key, spec) VALUES (1, 'k', ?)", (lane,))
        connection.exec_driver_sql(
            "INSERT INTO job (uid, owner, lane_id, rank, state, document_id, workflow_id, door, stem, spec,"
            " submitted_at) VALUES ('old', 'anonymous', 1, 0, 2, 1, 'card', 'http', 'card', '{\"parameters\": {}}', 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO attempt (job_id, number, prompt_id, backend_id, epoch, started_at, ended_at, outcome)"
            " VALUES (1, 1, 'the first', 'beast', 1, 2, 3, 'lost')"
        )
        connection.commit()
    engine.dispose()
    async with opened(path) as store:
        old = (await store.job("old")).job
        assert (old.workflow_id, [(one.prompt_id, one.outcome) for one in old.attempts]) == (
            "card",
            [("the first", Outcome.LOST)],
        )
    assert look(path, "SELECT source, queued, held FROM lane") == [("s", 0, 1)]
    assert look(path, "SELECT version_num FROM alembic_version") == [(SCHEMA_REVISION,)]
