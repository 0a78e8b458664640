from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.store import JobStore
from tests.store.building import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


@pytest.fixture
def told() -> list[JobChanged]:
    """Every event that the store told, in order."""
    return []


@pytest.fixture
async def store(path: Path, told: list[JobChanged]) -> AsyncIterator[JobStore]:
    async with opened(path, told) as ready:
        yield ready
