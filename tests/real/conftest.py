"""What a server must be able to do for a test to make sense."""

from __future__ import annotations

import pytest

from orchestrator_mcp.backends.comfy import INTERRUPT_BY_ID
from tests.real.partner import client_of, standing

KEEPS_IDS = (0, 3, 45)
"""The first version that takes the prompt id of the caller."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def can_be_told() -> None:
    """Skip where a render cannot be stopped without stopping another."""
    async with client_of(standing()) as client:
        if (await client.stats()).version_tuple < INTERRUPT_BY_ID:
            pytest.skip("this server cannot be told which prompt to stop")


@pytest.fixture
async def keeps_ids() -> None:
    """Skip where the server draws ids of its own; the core copes with that, and is tested there."""
    async with client_of(standing()) as client:
        if (await client.stats()).version_tuple < KEEPS_IDS:
            pytest.skip("this server gives prompts ids of its own")
