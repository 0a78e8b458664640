"""Hints: in order, bounded, and never in anybody's way."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime

import anyio
import anyio.lowlevel
import pytest

from orchestrator_mcp.domain.events import BackendChanged, Event, JobChanged, JobDelivered, JobProgressed
from orchestrator_mcp.domain.jobs import JobState, Stage
from orchestrator_mcp.events import CROWD, MOST_WAITING, PROGRESS_INTERVAL, Events


class StillClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def events(clock: StillClock) -> Events:
    return Events(clock)


def changed(seq: int, job_id: str = "a", *, stage: Stage | None = Stage.RENDERING) -> JobChanged:
    return JobChanged(job_id=job_id, seq=seq, state=JobState.RUNNING, stage=stage)


def progressed(fraction: float, job_id: str = "a") -> JobProgressed:
    return JobProgressed(job_id=job_id, fraction=fraction)


async def test_a_reader_hears_of_its_job_alone_and_in_order(events: Events) -> None:
    with events.subscribe("a") as reader, anyio.fail_after(5):
        for event in (changed(1), changed(2, "b"), BackendChanged(backend_id="one"), changed(3)):
            events.publish(event)
        assert [await reader.next(), await reader.next()] == [changed(1), changed(3)]


async def test_every_reader_of_a_job_hears_everything(events: Events) -> None:
    with events.subscribe("a") as one, events.subscribe("a") as other, anyio.fail_after(5):
        events.publish(changed(1))
        assert await one.next() == await other.next() == changed(1)


async def test_a_reader_that_waits_is_woken(events: Events) -> None:
    heard: list[Event] = []

    with events.subscribe("a") as reader, anyio.fail_after(5):

        async def read() -> None:
            heard.append(await reader.next())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.lowlevel.checkpoint()
            assert heard == []
            events.publish(changed(1))
    assert heard == [changed(1)]


async def test_changes_come_before_progress_and_only_the_newest_progress_is_kept(
    events: Events, clock: StillClock
) -> None:
    with events.subscribe("a") as reader, anyio.fail_after(5):
        for fraction in (0.1, 0.2, 0.3):
            clock.seconds += PROGRESS_INTERVAL
            events.publish(progressed(fraction))
        events.publish(changed(1))
        assert await reader.next() == changed(1)
        assert await reader.next() == progressed(0.3)


async def test_a_slow_reader_loses_the_oldest_changes_and_never_the_newest(events: Events) -> None:
    with events.subscribe("a") as reader, anyio.fail_after(5):
        for seq in range(MOST_WAITING + 10):
            events.publish(changed(seq))
        heard = [await reader.next() for _ in range(MOST_WAITING)]
    assert heard == [changed(seq) for seq in range(10, MOST_WAITING + 10)]


def test_progress_is_told_at_most_five_times_a_second_and_always_known(events: Events, clock: StillClock) -> None:
    told: list[Event] = []
    events.listen(told.append)
    for step in range(1000):
        clock.seconds = step / 1000
        events.publish(progressed(step / 1000))
    assert len(told) <= 1 / PROGRESS_INTERVAL
    assert events.progress("a") == progressed(0.999)
    events.publish(progressed(0.5, "b"))
    assert told[-1] == progressed(0.5, "b"), "one job's progress does not hold back another's"


@pytest.mark.parametrize(
    "state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED, JobState.WAITING]
)
def test_a_job_that_renders_no_more_has_no_progress(events: Events, state: JobState) -> None:
    events.publish(progressed(0.5))
    events.publish(changed(1))
    assert events.progress("a") == progressed(0.5)
    events.publish(JobChanged(job_id="a", seq=2, state=state))
    assert events.progress("a") is None


def test_listeners_hear_everything(events: Events) -> None:
    told: list[Event] = []
    events.listen(told.append)
    sent: list[Event] = [changed(1), changed(2, "b"), BackendChanged(backend_id="one"), progressed(0.5)]
    for event in sent:
        events.publish(event)
    assert told == sent


def test_readers_that_have_left_leave_nothing_behind(events: Events) -> None:
    with events.subscribe("a"), events.subscribe("a"), events.subscribe("b"):
        assert len(events._by_job) == 2
    assert events._by_job == {}


async def test_a_crowd_hears_of_changes_that_last_and_at_once_when_the_result_is_delivered(events: Events) -> None:
    ended, delivered = JobChanged(job_id="a", seq=4, state=JobState.COMPLETED), JobDelivered(job_id="a")
    with ExitStack() as crowd, anyio.fail_after(5):
        readers = [crowd.enter_context(events.subscribe("a")) for _ in range(CROWD)]
        events.publish(changed(1))
        events.publish(progressed(0.5))
        assert [await reader.next() for reader in readers] == [progressed(0.5)] * CROWD
        events.release()
        assert [await reader.next() for reader in readers] == [changed(1)] * CROWD
        for event in (changed(2, stage=Stage.COLLECTING), changed(3, stage=Stage.PUBLISHING), ended, delivered):
            events.publish(event)
        await events.pressing()
        events.release()
        assert [await reader.next() for reader in readers] == [delivered] * CROWD
        with anyio.move_on_after(0) as nothing_more:
            await readers[0].next()
        assert nothing_more.cancelled_caught
