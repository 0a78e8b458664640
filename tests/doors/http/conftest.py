from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.doors.http.farm import ServiceDouble
from tests.doors.http.served import served


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may leave a warning or a traceback in the log, unless the test takes it out again."""
    with caplog.at_level(logging.WARNING):
        yield
    records = [record for phase in ("setup", "call", "teardown") for record in caplog.get_records(phase)]
    assert [record.getMessage() for record in records if "built-in sandbox" not in record.getMessage()] == []


@pytest.fixture
def farm(tmp_path: Path) -> ServiceDouble:
    return ServiceDouble(tmp_path)


@pytest.fixture
async def client(farm: ServiceDouble) -> AsyncIterator[httpx.AsyncClient]:
    async with served(farm) as client:
        yield client
