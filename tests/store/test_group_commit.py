"""What comes together is committed together, and a bad one fails alone."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator_mcp.errors import NotFoundError, StorageError
from orchestrator_mcp.store.accepting import accept
from orchestrator_mcp.store.sqlite import Database, Transaction
from orchestrator_mcp.store.writer import LARGEST_BATCH, Writer
from tests.store.building import look, new_job


class Bench:
    """A writer on a real file, and every statement that its connection ran."""

    def __init__(self, path: Path) -> None:
        self.statements: list[str] = []
        self.told: list[str] = []
        self.database = Database(path)
        self.database.open()
        self.database.writer.set_trace_callback(self.statements.append)
        self.writer = Writer(self.database, tell=lambda event: self.told.append(event.job_id))

    @property
    def commits(self) -> int:
        return self.statements.count("COMMIT")

    async def write_all(self, *wanted: Any) -> list[Any]:
        """Hand over operations at one moment, before anything is committed; what each returned or raised."""
        answers: list[Any] = [None] * len(wanted)

        async def one(number: int) -> None:
            try:
                answers[number] = await self.writer.write(wanted[number])
            except Exception as error:  # noqa: BLE001 - the answer of an operation may be any error
                answers[number] = error

        async with anyio.create_task_group() as tasks:
            for number in range(len(wanted)):
                tasks.start_soon(one, number)
            await anyio.lowlevel.checkpoint()
            async with anyio.create_task_group() as running:
                running.start_soon(self.writer.run)
                self.writer.close()
        return answers


@pytest.fixture
async def bench(path: Path) -> AsyncIterator[Bench]:
    async with _bench(path) as ready:
        yield ready


@asynccontextmanager
async def _bench(path: Path) -> AsyncIterator[Bench]:
    ready = Bench(path)
    with anyio.fail_after(30):
        yield ready
    ready.database.close()


def accepting() -> Any:
    new = new_job()
    return lambda tx: accept(tx, new)


def failing(error: Exception) -> Any:
    def fail(tx: Transaction) -> None:
        accept(tx, new_job())
        raise error

    return fail


async def test_a_thousand_accepts_of_one_moment_are_one_transaction(bench: Bench, path: Path) -> None:
    answers = await bench.write_all(*[accepting() for _ in range(1000)])
    assert bench.told == [acceptance.job_id for acceptance in answers]
    assert len(set(bench.told)) == 1000
    assert bench.commits == 1
    assert look(path, "SELECT count(*), (SELECT queued FROM lane) FROM job") == [(1000, 1000)]


async def test_what_arrives_during_a_commit_goes_into_the_next_one(bench: Bench) -> None:
    held, going_on = threading.Event(), threading.Event()

    def hold(_tx: Transaction) -> None:
        held.set()
        assert going_on.wait(20)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.writer.run)
        tasks.start_soon(bench.writer.write, hold)
        await anyio.to_thread.run_sync(held.wait, 20)
        for _ in range(50):
            tasks.start_soon(bench.writer.write, accepting())
        await anyio.lowlevel.checkpoint()
        going_on.set()
        bench.writer.close()
    assert bench.commits == 2


async def test_writes_that_nobody_awaits_are_stored_in_their_order_with_the_one_that_is(
    bench: Bench, path: Path
) -> None:
    durable: list[str] = []

    def note(name: str) -> Any:
        return lambda: durable.append(f"{name} of {look(path, 'SELECT count(*) FROM job')[0][0]}")

    first = bench.writer.put(accepting(), then=note("first"))
    refused = bench.writer.put(failing(NotFoundError("job", "x")), then=note("refused"))
    bench.writer.put(accepting(), then=note("second"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.writer.run)
        last = await bench.writer.write(accepting())
        bench.writer.close()
    assert durable == ["first of 3", "second of 3"]
    assert (await first).job_id == bench.told[0]
    assert bench.told[2] == last.job_id
    assert refused.failed
    with pytest.raises(NotFoundError):
        await refused


async def test_a_write_that_nobody_is_in_a_hurry_for_goes_with_the_next_one_that_somebody_waits_for(
    bench: Bench,
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.writer.run)
        unhurried = bench.writer.put(accepting(), hurry=False)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()  # the writer looks
        assert unhurried.waits
        await bench.writer.write(accepting())
        assert not unhurried.waits
        assert len(bench.told) == 2
        bench.writer.close()
    assert bench.commits == 1


async def test_a_write_that_nobody_is_in_a_hurry_for_is_stored_all_the_same(bench: Bench) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.writer.run)
        first = bench.writer.put(accepting(), hurry=False)
        await first
        bench.writer.put(accepting(), hurry=False)
        bench.writer.close()
    assert bench.commits == len(bench.told) == 2


async def test_a_batch_has_a_largest_size(bench: Bench) -> None:
    answers = await bench.write_all(*[lambda tx: "done" for _ in range(LARGEST_BATCH + 1)])
    assert answers == ["done"] * (LARGEST_BATCH + 1)
    assert bench.commits == 2


async def test_an_operation_that_fails_takes_back_its_own_work_and_nothing_of_its_neighbours(
    bench: Bench, path: Path
) -> None:
    mine = NotFoundError("job", "x")
    answers = await bench.write_all(accepting(), failing(mine), accepting(), failing(ValueError("a bug")), accepting())
    assert answers[1] is mine
    assert isinstance(answers[3], ValueError)
    assert look(path, "SELECT count(*), (SELECT queued FROM lane) FROM job") == [(3, 3)]
    accepted = [acceptance.job_id for acceptance in answers[::2]]
    assert bench.told == accepted, "events of what was rolled back are never told"


async def test_an_error_of_the_database_reaches_its_caller_in_the_products_words(bench: Bench) -> None:
    def break_a_rule(tx: Transaction) -> None:
        tx.run("add_artifact", job_id=4711, position=0, name="", node="", kind="", media_type="", size=0, sha256="")

    good, bad = await bench.write_all(accepting(), break_a_rule)
    assert isinstance(bad, StorageError)
    assert "FOREIGN KEY" in str(bad)
    assert good.replayed is False


async def test_a_caller_that_gives_up_waiting_hurts_nobody(bench: Bench, path: Path) -> None:
    held, going_on = threading.Event(), threading.Event()

    def hold(_tx: Transaction) -> None:
        held.set()
        assert going_on.wait(20)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.writer.run)
        async with anyio.create_task_group() as callers:
            callers.start_soon(bench.writer.write, hold)
            await anyio.to_thread.run_sync(held.wait, 20)
            callers.start_soon(bench.writer.write, accepting())
            await anyio.lowlevel.checkpoint()
            callers.cancel_scope.cancel()
        going_on.set()
        await bench.writer.write(accepting())
        bench.writer.close()
    assert look(path, "SELECT count(*) FROM job") == [(2,)]
