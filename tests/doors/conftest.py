from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.doors.three_doors import House, Way, house


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as ready:
        yield ready


@pytest.fixture(params=["http", "mcp", "inbox"])
def way(studio: House, request: pytest.FixtureRequest) -> Way:
    return studio.ways[request.param]
