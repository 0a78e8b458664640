from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.security.guarded import Guarded, guarded


@pytest.fixture
async def farm(tmp_path: Path) -> AsyncIterator[Guarded]:
    """A whole orchestrator that asks for tokens."""
    async with guarded(tmp_path) as running:
        yield running
