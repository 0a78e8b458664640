"""Queues alone, ours and others, each in a process of its own: `python -m benchmarks.queues NAME --at PLACE`.

A job is put in durably, a worker in the same process begins it, it does nothing, and it is over when the queue no
longer has it as open. The others come with `pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module  # a rival that is absent must not stop the others, and mypy knows none of them
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from benchmarks.control_plane import candidates
from benchmarks.filling import fill, new_job
from benchmarks.houses import picture
from orchestrator_mcp.command.serving import FASTEST_LOOP
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobState, Outcome
from orchestrator_mcp.store import JobStore, OpenAttempt

AT_ONCE: Final = 50  # jobs that are worked on at the same time
CALLERS: Final = 50  # who put jobs in at the same time
WORKERS: Final = 5  # of pgqueuer, which share those
THREADS: Final = 4  # of huey
PATIENCE: Final = 300.0  # seconds that a phase may take
LOOK: Final = 0.005  # seconds between two looks whether the last job is over

Began = Callable[[], None]
"""Told, on the event loop, whenever a job begins."""


class Queue(Protocol):
    """A queue with its worker."""

    async def put(self, number: int) -> None:
        """Put one job in; it is durable on return."""

    async def fill(self, count: int) -> None:
        """Put many in, in the fastest way that there is, before anybody works; the planner knows of them."""

    async def work(self) -> None:
        """Begin and end whatever is in it, until cancelled."""

    async def open(self) -> int:
        """How many jobs are not over."""


class Ours:
    """The store of the orchestrator with so many slots, as the dispatcher uses it.

    Args:
        path: of its database.
        began: told of each job.
    """

    def __init__(self, path: Path, began: Began) -> None:
        self._path, self._began = path, began
        self._graph = picture()
        self._store = JobStore(path, tell=self._heard)
        self._free = {one.backend_id: one for one in candidates(AT_ONCE)}
        self._wake = anyio.Event()

    async def put(self, number: int) -> None:
        """Accept a job."""
        await self._store.accept(new_job(self._graph, number))

    async def fill(self, count: int) -> None:
        """Copy rows into the file."""
        await fill(self._path, count, self._graph)

    async def work(self) -> None:
        """Claim for every slot that is free; it is free again when the end is on its way to the disk."""
        await self._store.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._store.run)
            while True:
                for held in await self._store.claim(lambda: list(self._free.values()), datetime.now(UTC)):
                    tasks.start_soon(self._end, held, self._free.pop(held.backend_id))
                    self._began()
                await self._wake.wait()
                self._wake = anyio.Event()

    async def open(self) -> int:
        """Queued and running."""
        return sum(await self._store.counts())

    async def _end(self, held: OpenAttempt, slot: Any) -> None:
        self._free[held.backend_id] = slot
        self._wake.set()
        now = datetime.now(UTC)
        await self._store.finish(held, JobState.COMPLETED, Outcome.SUCCEEDED, now, reason="rendered")

    def _heard(self, event: JobChanged) -> None:
        if event.state is JobState.QUEUED:
            self._wake.set()


@asynccontextmanager
async def ours(place: str, began: Began) -> AsyncIterator[Queue]:
    """The store, in a folder."""
    yield Ours(Path(place) / f"{time.monotonic_ns()}.db", began)


class Pgqueuer:
    """pgqueuer over asyncpg, which it calls the fastest: one pool puts in, each worker has a connection of its own.

    Args:
        producer: its queries over a pool.
        workers: that many.
    """

    def __init__(self, producer: Any, workers: list[Any]) -> None:
        self._producer, self._workers = producer, workers

    async def put(self, number: int) -> None:
        """Enqueue one."""
        await self._producer.enqueue("nothing", str(number).encode())

    async def fill(self, count: int) -> None:
        """Enqueue a list."""
        await self._producer.enqueue(["nothing"] * count, [b"0"] * count, [0] * count)
        await self._producer.driver.execute("ANALYZE")

    async def work(self) -> None:
        """Run every worker."""
        async with anyio.create_task_group() as tasks:
            for worker in self._workers:
                tasks.start_soon(worker.run)

    async def open(self) -> int:
        """Rows of its queue; a job that is over leaves it for the log."""
        return sum(one.count for one in await self._producer.queue_size())


@asynccontextmanager
async def pgqueuer(place: str, began: Began) -> AsyncIterator[Queue]:
    """pgqueuer on a server, with its tables as it makes them (logged, so durable)."""
    asyncpg, module = import_module("asyncpg"), import_module("pgqueuer")
    queries = import_module("pgqueuer.queries").Queries
    drivers = import_module("pgqueuer.db")

    async def nothing(job: Any) -> None:
        began()

    async with asyncpg.create_pool(place, min_size=1, max_size=CALLERS // 2) as pool:
        producer = queries(drivers.AsyncpgPoolDriver(pool))
        await producer.uninstall()
        await producer.install()
        workers = []
        for _ in range(WORKERS):
            worker = module.PgQueuer(drivers.AsyncpgDriver(await asyncpg.connect(place)))
            worker.entrypoint("nothing")(nothing)
            workers.append(worker)
        yield Pgqueuer(producer, workers)


class Procrastinate:
    """procrastinate over psycopg.

    Args:
        app: its application.
        task: the task that does nothing.
    """

    def __init__(self, app: Any, task: Any) -> None:
        self._app, self._task = app, task

    async def put(self, number: int) -> None:
        """Defer one."""
        await self._task.defer_async(number=number)

    async def fill(self, count: int) -> None:
        """Defer a batch."""
        await self._task.batch_defer_async(*({"number": number} for number in range(count)))
        await self._app.connector.execute_query_async("ANALYZE")

    async def work(self) -> None:
        """Run its worker, woken by NOTIFY."""
        await self._app.run_worker_async(concurrency=AT_ONCE, install_signal_handlers=False)

    async def open(self) -> int:
        """Jobs that are to be done or being done."""
        sql = "SELECT count(*) AS open FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        return int((await self._app.connector.execute_query_one_async(sql))["open"])


@asynccontextmanager
async def procrastinate(place: str, began: Began) -> AsyncIterator[Queue]:
    """procrastinate on a server; it keeps the jobs that are over, as it does unless told otherwise."""
    module = import_module("procrastinate")
    app = module.App(connector=module.PsycopgConnector(conninfo=place, min_size=1, max_size=CALLERS // 2))

    @app.task(name="nothing")  # type: ignore[untyped-decorator]
    async def nothing(number: int) -> None:
        began()

    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        yield Procrastinate(app, nothing)


class Huey:
    """huey on SQLite, which flushes each commit; its workers are threads that look for work often.

    Args:
        huey: the queue.
        consumer: who works.
        task: the task that does nothing.
    """

    def __init__(self, huey: Any, consumer: Any, task: Any) -> None:
        self._huey, self._consumer, self._task = huey, consumer, task

    async def put(self, number: int) -> None:
        """Enqueue one, on a thread."""
        await anyio.to_thread.run_sync(self._task, number)

    async def fill(self, count: int) -> None:
        """Enqueue one after the other: it knows nothing else."""
        await anyio.to_thread.run_sync(lambda: [self._task(number) for number in range(count)])

    async def work(self) -> None:
        """Start the consumer's threads."""
        self._consumer.start()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: self._consumer.stop(graceful=True))

    async def open(self) -> int:
        """Rows of its queue; it takes a job out when it begins."""
        return int(await anyio.to_thread.run_sync(self._huey.pending_count))


@asynccontextmanager
async def huey(place: str, began: Began) -> AsyncIterator[Queue]:
    """huey in a folder."""
    module, consumers = import_module("huey"), import_module("huey.consumer")
    queue = module.SqliteHuey("bench", filename=str(Path(place) / f"huey-{time.monotonic_ns()}.db"), fsync=True)
    loop = anyio.lowlevel.current_token()

    class Consumer(consumers.Consumer):  # type: ignore[misc, name-defined]
        def _set_signal_handlers(self) -> None:
            """It is not the process that is to end."""

    @queue.task()  # type: ignore[untyped-decorator]
    def nothing(number: int) -> None:
        anyio.from_thread.run_sync(began, token=loop)

    yield Huey(queue, Consumer(queue, workers=THREADS, periodic=False, initial_delay=0.001, max_delay=0.01), nothing)


QUEUES: Final[Mapping[str, Any]] = {"ours": ours, "pgqueuer": pgqueuer, "procrastinate": procrastinate, "huey": huey}


class Beginnings:
    """How many jobs have begun."""

    def __init__(self) -> None:
        self._count = 0
        self._wanted = 0
        self._reached = anyio.Event()

    def one_more(self) -> None:
        """A job begins."""
        self._count += 1
        if self._count >= self._wanted:
            self._reached.set()

    def further(self, count: int) -> Callable[[], Any]:
        """Expect so many more; what is returned waits for them."""
        self._wanted = self._count + count
        self._reached = anyio.Event()
        return self._reached.wait


async def alone(queue: Queue, begun: Beginnings, jobs: int) -> list[float]:
    """Jobs one after the other: the seconds from before each is put in until it begins."""
    spans = []
    for number in range(jobs):
        there = begun.further(1)
        began = time.perf_counter()
        await queue.put(number)
        await there()
        spans.append(time.perf_counter() - began)
        await _over(queue)
    return spans


async def crowd(queue: Queue, begun: Beginnings, jobs: int) -> float:
    """Jobs a second that callers put in at the same time, one by one, until the last is over."""
    there = begun.further(jobs)
    numbers = iter(range(jobs))
    began = time.perf_counter()

    async def call() -> None:
        for number in numbers:
            await queue.put(number)

    async with anyio.create_task_group() as tasks:
        for _ in range(CALLERS):
            tasks.start_soon(call)
    await there()
    await _over(queue)
    return jobs / (time.perf_counter() - began)


async def _over(queue: Queue) -> None:
    while await queue.open():  # noqa: ASYNC110 - not all of them tell
        await anyio.sleep(LOOK)


async def measured(name: str, place: str, jobs: int) -> dict[str, float]:
    """The figures of one queue.

    Args:
        name: which.
        place: the folder, or the url of the server, that it stores in.
        jobs: how many in each phase; a fiftieth of them one after the other.
    """
    begun = Beginnings()
    with anyio.fail_after(PATIENCE):
        async with QUEUES[name](place, begun.one_more) as queue:
            await queue.fill(jobs)
            there = begun.further(jobs)
            async with anyio.create_task_group() as tasks:
                began = time.perf_counter()
                tasks.start_soon(queue.work)
                await there()
                await _over(queue)
                drained = jobs / (time.perf_counter() - began)
                spans = await alone(queue, begun, max(10, jobs // 50))
                rate = await crowd(queue, begun, jobs)
                tasks.cancel_scope.cancel()
    return {"drained": drained, "rate": rate, "begun": statistics.median(spans)}


def main() -> None:
    """Measure one, and say so as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queues", description=__doc__)
    parser.add_argument("name", choices=QUEUES)
    parser.add_argument("--at", required=True, help="the folder, or the url of the server, that it stores in")
    parser.add_argument("--jobs", type=int, default=2_000)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = anyio.run(measured, given.name, given.at, given.jobs, backend_options=FASTEST_LOOP)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
