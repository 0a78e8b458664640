"""Backups are sound copies of one moment, damage is noticed, and a person can go back."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from orchestrator_mcp.cli import program
from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.command.ending import ExitCode
from orchestrator_mcp.errors import StartError, StorageError
from orchestrator_mcp.machine.presence import hold_data_dir
from orchestrator_mcp.settings import Settings
from orchestrator_mcp.store import JobFilter
from orchestrator_mcp.store.backups import DamageError, fault_in, list_backups, make_backup, restore_newest
from orchestrator_mcp.store.schema import SCHEMA_REVISION
from orchestrator_mcp.upkeep.backups import Backups
from tests.store.building import NOON, look, new_job, opened
from tests.world.house import CARD, backend, configured, house, until, write_config

SPARE = 0


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


async def filled(path: Path, count: int) -> list[str]:
    """A database with jobs in it, closed."""
    async with opened(path) as store:
        return [(await store.accept(new_job())).job_id for _ in range(count)]


def jobs_in(path: Path) -> set[str]:
    return {row[0] for row in look(path, "SELECT uid FROM job")}


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def add_noise(path: Path) -> None:
    """Put noise behind the end of a file."""
    with path.open("ab") as file:
        file.write(random.Random(5).randbytes(10_000))


def spoil(path: Path, seed: int, pages: int = 40) -> None:
    """Write noise over random pages behind the first."""
    noise = random.Random(seed)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(pages):
            file.seek(noise.randrange(1, size // 4096) * 4096)
            file.write(noise.randbytes(4096))


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_backup_of_a_store_at_work_is_sound_and_holds_all_that_was_accepted(
    tmp_path: Path, database: Path, exclusive: bool
) -> None:
    later: list[str] = []
    async with opened(database, exclusive=exclusive) as store:
        before = {(await store.accept(new_job())).job_id for _ in range(20)}
        async with anyio.create_task_group() as tasks:

            async def go_on_accepting() -> None:
                while True:
                    later.append((await store.accept(new_job())).job_id)

            tasks.start_soon(go_on_accepting)
            backup = await store.back_up(tmp_path / "backups", NOON, spare=SPARE)
            tasks.cancel_scope.cancel()
    assert fault_in(backup.path) is None
    found = jobs_in(backup.path)
    assert before <= found <= before | set(later) | jobs_in(database)
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["orchestrator-20260301T120000.db"]


async def test_three_are_kept_with_time_between_them(tmp_path: Path, database: Path) -> None:
    await filled(database, 1)
    folder = tmp_path / "backups"
    for minutes in (0, 60, 120, 180, 185, 189):
        make_backup(database, folder, NOON + timedelta(minutes=minutes), spare=SPARE)
    assert [(kept.at - NOON).total_seconds() / 60 for kept in list_backups(folder)] == [189, 120, 60]


async def test_a_damaged_database_drives_out_no_good_backup(tmp_path: Path, database: Path) -> None:
    await filled(database, 300)
    folder = tmp_path / "backups"
    good = make_backup(database, folder, NOON, spare=SPARE)
    spoil(database, 1)
    with pytest.raises(DamageError):
        make_backup(database, folder, NOON + timedelta(hours=1), spare=SPARE)
    assert os.listdir(folder) == [good.path.name]


async def test_a_disk_without_room_gets_no_half_backup(tmp_path: Path, database: Path) -> None:
    async with opened(database) as store:
        with pytest.raises(StorageError, match="MB free"):
            await store.back_up(tmp_path / "backups", NOON, spare=2**60)
    assert os.listdir(tmp_path / "backups") == []


async def test_a_backup_that_is_ended_leaves_nothing(tmp_path: Path, database: Path) -> None:
    await filled(database, 50)
    with pytest.raises(OSError, match="ended before"):
        make_backup(database, tmp_path / "backups", NOON, spare=SPARE, go_on=lambda: False)
    assert os.listdir(tmp_path / "backups") == []


async def test_the_newest_sound_backup_is_restored_and_the_damaged_file_is_kept(tmp_path: Path, database: Path) -> None:
    folder = tmp_path / "backups"
    jobs = await filled(database, 300)
    good = make_backup(database, folder, NOON, spare=SPARE)
    bad = make_backup(database, folder, NOON + timedelta(hours=1), spare=SPARE)
    spoil(bad.path, 2)
    spoil(database, 3)
    damaged = content_of(database)
    done = restore_newest(database, folder, NOON + timedelta(hours=2))
    assert done is not None and done.aside is not None
    assert done.backup == good
    assert [path for path, _ in done.passed_over] == [bad.path]
    assert jobs_in(database) == set(jobs)
    assert done.aside.read_bytes() == damaged
    async with opened(database) as store:
        await store.accept(new_job())


async def test_without_a_sound_backup_nothing_is_changed(tmp_path: Path, database: Path) -> None:
    await filled(database, 300)
    spoil(database, 4)
    before = content_of(database)
    assert restore_newest(database, tmp_path / "backups", NOON) is None
    assert content_of(database) == before


async def test_a_backup_of_a_newer_program_is_not_restored(tmp_path: Path, database: Path) -> None:
    await filled(database, 1)
    backup = make_backup(database, tmp_path / "backups", NOON, spare=SPARE)
    connection = sqlite3.connect(backup.path)
    connection.execute("UPDATE alembic_version SET version_num = ?", (f"{int(SCHEMA_REVISION) + 1:04d}",))
    connection.commit()
    connection.close()
    assert restore_newest(database, tmp_path / "backups", NOON) is None


def doctor(folder: Path, *options: str) -> Any:
    return CliRunner().invoke(program, ["doctor", "--config", str(folder / "config.yaml"), *options])


async def test_a_clean_stop_leaves_a_backup_from_which_a_damaged_database_comes_back(
    tmp_path: Path, sandboxes: Any
) -> None:
    server = await sandboxes()
    text = configured(backend("one", server))
    async with house(tmp_path, text) as at:
        job = await at.ended(await at.submit())
        data = at.settings.data_dir
        database = data / "orchestrator.db"
        refused = await anyio.to_thread.run_sync(doctor, tmp_path, "--restore")
        assert refused.exit_code == ExitCode.IN_USE and "is in use by" in refused.stderr
    assert len(list_backups(data / "backups")) == 1
    undamaged = await anyio.to_thread.run_sync(doctor, tmp_path, "--restore")
    assert undamaged.exit_code == 0 and "undamaged" in undamaged.stderr

    content = database.read_bytes()
    database.write_bytes(content[:100] + bytes(len(content) - 100))
    with pytest.raises(BaseException) as failed:
        async with house(tmp_path, text):
            pass
    assert (
        failed.group_contains(StartError, match="doctor")
        if isinstance(failed.value, BaseExceptionGroup)
        else (isinstance(failed.value, StartError) and "doctor" in str(failed.value))
    )
    said = await anyio.to_thread.run_sync(doctor, tmp_path)
    assert said.exit_code == 1 and "--restore" in " ".join(said.stdout.split())

    restored = await anyio.to_thread.run_sync(doctor, tmp_path, "--restore")
    assert restored.exit_code == 0, restored.stderr
    assert "Restored the backup of" in restored.stderr
    async with house(tmp_path, text) as at:
        assert (await at.job(job["job_id"]))["status"] == "completed"
        assert (await at.ended(await at.submit()))["status"] == "completed"
    assert len(os.listdir(data / "damaged")) == 1


async def test_damage_that_only_a_look_at_every_page_finds_stops_accepting(tmp_path: Path, sandboxes: Any) -> None:
    server = await sandboxes()
    text = configured(backend("one", server))
    async with house(tmp_path, text) as at:
        for _ in range(3):
            await at.ended(await at.submit())
        database = at.settings.data_dir / "orchestrator.db"
    damage_an_index(database)
    async with house(tmp_path, text) as at:

        async def closed() -> bool:
            return not (await at.health())["accepting"]

        await until(closed)
        (problem,) = (await at.health())["problems"]
        assert "is damaged" in problem and "doctor" in problem
        answer = await at.api.post("/api/job", json={"workflow": CARD})
        assert answer.status_code == 503 and "is damaged" in answer.text
        dropped = at.drop("waits.json")
        assert (await at.api.get("/api/jobs")).status_code == 200
        assert dropped.is_file()
    assert len(list_backups(tmp_path / "data" / "backups")) == 1, "a damaged database is not backed up"


def damage_an_index(path: Path) -> None:
    """Take an entry out of an index behind SQLite's back: every page is well formed, and they disagree."""
    connection = sqlite3.connect(path, isolation_level=None)
    (name,) = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'job' AND sql IS NOT NULL"
        " AND sql NOT LIKE '%WHERE%' LIMIT 1"
    ).fetchone()
    connection.execute("PRAGMA writable_schema=ON")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        at = (root - 1) * size + 3  # number of cells of a b-tree page (https://sqlite.org/fileformat2.html)
        file.seek(at)
        cells = int.from_bytes(file.read(2), "big")
        assert cells > 1
        file.seek(at)
        file.write((cells - 1).to_bytes(2, "big"))


@pytest.mark.parametrize("seed", range(20))
async def test_pages_of_noise_are_noticed_and_never_break_the_program(
    tmp_path: Path, database: Path, seed: int
) -> None:
    """Whatever is spoiled: the store refuses to open, or finds the damage when it looks, in words of its own."""
    await filled(database, 150)
    spoil(database, seed, pages=50)
    try:
        async with opened(database) as store:
            with suppress(StorageError):
                assert await store.check() is not None
            with suppress(StorageError):
                await store.accept(new_job())
            assert store.damage is not None
    except BaseExceptionGroup as group:
        assert group.subgroup(StartError) is not None
    except StartError as error:
        assert "doctor" in str(error)


@pytest.mark.parametrize("left", [50, 4096, 40_000])
async def test_a_truncated_database_is_refused_or_found(database: Path, left: int) -> None:
    await filled(database, 150)
    os.truncate(database, left)
    try:
        async with opened(database) as store:
            try:
                assert await store.check() is not None
            except StorageError:
                assert store.damage is not None
    except StartError as error:
        assert "doctor" in str(error)


@pytest.mark.parametrize("loss", ["deleted", "emptied"])
async def test_a_database_that_was_lost_is_not_replaced_by_an_empty_one(
    tmp_path: Path, sandboxes: Any, loss: str
) -> None:
    server = await sandboxes()
    text = configured(backend("one", server))
    async with house(tmp_path, text) as at:
        job = await at.ended(await at.submit())
    database = tmp_path / "data" / "orchestrator.db"
    os.truncate(database, 0) if loss == "emptied" else os.unlink(database)
    with pytest.raises(StartError, match="--restore"):
        async with house(tmp_path, text):
            pass
    restored = await anyio.to_thread.run_sync(doctor, tmp_path, "--restore")
    assert restored.exit_code == 0, restored.stderr
    async with house(tmp_path, text) as at:
        assert (await at.job(job["job_id"]))["status"] == "completed"


async def test_noise_behind_the_log_loses_nothing(database: Path, tmp_path: Path) -> None:
    async with opened(database) as store:
        jobs = {(await store.accept(new_job())).job_id for _ in range(20)}
        for end in ("", "-wal"):  # as a kill would leave them
            shutil.copy(f"{database}{end}", f"{tmp_path / 'killed.db'}{end}")
    add_noise(tmp_path / "killed.db-wal")
    async with opened(tmp_path / "killed.db") as store:
        assert await store.check() is None
        assert {stored.job.job_id for stored in await store.jobs(JobFilter(), before=None, limit=100)} == jobs


async def test_hourly_backups_count_from_the_newest_one(tmp_path: Path, database: Path) -> None:
    settings = Settings(config_file=tmp_path / "config.yaml", data_dir=tmp_path)
    async with opened(database) as store:
        backups = Backups(store, lambda: settings, SystemClock(), every=0.05)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backups.run)

            async def made() -> bool:
                return len(list_backups(tmp_path / "backups")) == 1

            await until(made)
            tasks.cancel_scope.cancel()
        assert backups.trouble is None
        assert 3500 < await Backups(store, lambda: settings, SystemClock())._first_pause() <= 3600


async def test_a_restore_never_runs_beside_an_orchestrator(tmp_path: Path) -> None:
    write_config(tmp_path, "server: {port: 0}\n")
    with hold_data_dir(tmp_path / "data"):
        refused = await anyio.to_thread.run_sync(doctor, tmp_path, "--restore")
    assert refused.exit_code == ExitCode.IN_USE
    assert "in use" in refused.stderr
