from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.errors import NotFoundError
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from orchestrator_mcp.settings import RetentionSettings
from orchestrator_mcp.upkeep.retention import Retention
from tests.assets.samples import BEGIN, png, whole
from tests.scheduler.core import PICTURE, Core, backend_for, core


class ShiftedClock:
    """The real clock, some days on."""

    def __init__(self, shift: timedelta) -> None:
        self.shift = shift

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return


def retention(running: Core, shift: timedelta, **choices: Any) -> Retention:
    """Retention over the files of a running core."""
    service = running.service
    artifacts = service._parts.artifacts
    return Retention(service._store, artifacts, lambda: RetentionSettings(**choices), ShiftedClock(shift))


@asynccontextmanager
async def one_backend(folder: Path) -> AsyncIterator[Core]:
    async with (
        Sandbox(SandboxOptions(step_ms=1)).serve() as server,
        core(folder, [backend_for(server, "one")]) as running,
    ):
        yield running


async def delivered_job(running: Core, color: int = 255) -> str:
    plain = {"class_type": "EmptyImage", "inputs": {**PICTURE["1"]["inputs"], "color": color}}
    job_id = await running.submit({**PICTURE, "1": plain})
    await running.end_of(job_id)
    await running.service.deliveries.record(job_id, None)
    return job_id


async def test_old_jobs_and_their_files_go_and_young_ones_stay(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        job_id = await delivered_job(running)
        [output] = (await running.service.job(job_id)).outputs
        path = (await running.service.output_file(job_id, output.name)).path
        assert await retention(running, timedelta(days=13)).forget_old() == 0
        assert path.exists()
        assert await retention(running, timedelta(days=15)).forget_old() == 1
        assert not path.exists()
        with pytest.raises(NotFoundError):
            await running.service.job(job_id)


async def test_jobs_go_by_size_when_the_files_take_too_much(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        await delivered_job(running)
        assert await retention(running, timedelta(hours=1), bytes=0).forget_old() == 1


async def test_the_oldest_jobs_go_when_more_have_ended_than_are_kept(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        first, second, third = [await delivered_job(running) for _ in range(3)]
        keeper = retention(running, timedelta(hours=1), jobs=2)
        assert await keeper.forget_old() == 1
        with pytest.raises(NotFoundError):
            await running.service.job(first)
        assert [(await running.service.job(job_id)).status for job_id in (second, third)] == ["completed", "completed"]
        assert await keeper.forget_old() == 0


async def test_no_more_jobs_go_by_size_than_must(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        sizes = []
        for number in range(3):
            job_id = await delivered_job(running, number)
            sizes += [output.size for output in (await running.service.job(job_id)).outputs]
        keeper = retention(running, timedelta(hours=1), bytes=sum(sizes) - 1)
        assert await keeper.forget_old() == 1


async def test_a_job_that_is_not_delivered_yet_never_goes(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        await running.end_of(await running.submit(PICTURE))
        assert await retention(running, timedelta(days=400)).forget_old() == 0


async def test_a_file_that_another_job_names_too_stays(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        await delivered_job(running)
        second = await running.submit(PICTURE)
        [output] = (await running.end_of(second)).outputs
        assert await retention(running, timedelta(days=15)).forget_old() == 1
        assert (await running.service.output_file(second, output.name)).path.exists()


async def test_a_file_that_came_in_just_now_is_spared_until_the_next_round(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        job_id = await delivered_job(running)
        [output] = (await running.service.job(job_id)).outputs
        path = (await running.service.output_file(job_id, output.name)).path
        keeper = retention(running, timedelta(seconds=1), bytes=0)
        assert await keeper.forget_old() == 1
        assert path.exists()
        keeper._clock = ShiftedClock(timedelta(hours=1))
        await keeper.forget_old()
        assert not path.exists()


async def test_an_input_file_stays_for_as_long_as_its_job_and_goes_by_age_after_it(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        asset = (await running.service.keep_asset(whole(png()))).view
        other = (await running.service.keep_asset(whole(png((1, 1, 1))))).view
        job_id = await running.submit(BEGIN, parameters={"image": asset.asset})
        await running.end_of(job_id)
        paths = [(await running.service.asset_file(sha256)).path for sha256 in (asset.sha256, other.sha256)]
        await retention(running, timedelta(days=13)).forget_old()
        assert [path.exists() for path in paths] == [True, True]
        await retention(running, timedelta(days=15)).forget_old()
        assert [path.exists() for path in paths] == [True, False]  # the job is not delivered yet
        await running.service.deliveries.record(job_id, None)
        await retention(running, timedelta(days=15)).forget_old()
        assert [path.exists() for path in paths] == [False, False]
        with pytest.raises(NotFoundError):
            await running.service.asset_file(asset.sha256)


async def test_input_files_that_nobody_uses_go_when_there_is_too_much(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        asset = (await running.service.keep_asset(whole(png()))).view
        path = (await running.service.asset_file(asset.sha256)).path
        await retention(running, timedelta(0), bytes=0).forget_old()
        assert path.exists()  # it may be about to be used
        await retention(running, timedelta(hours=1), bytes=0).forget_old()
        assert not path.exists()


async def test_an_output_that_another_job_begins_with_outlives_its_own_job(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as running:
        first = await delivered_job(running)
        [output] = (await running.service.job(first)).outputs
        second = await running.submit(BEGIN, parameters={"image": f"asset:{output.sha256}"})
        await running.end_of(second)
        assert await retention(running, timedelta(days=15)).forget_old() == 1
        assert (await running.service.asset_file(output.sha256)).path.exists()
