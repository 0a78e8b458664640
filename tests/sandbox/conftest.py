"""Fixtures of the sandbox tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from orchestrator_mcp.sandbox import SandboxServer
from tests.partners import sandbox, sandboxes

__all__ = ["client", "post", "sandbox", "sandboxes"]


@pytest.fixture
async def client(sandbox: SandboxServer) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the one sandbox."""
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=10) as opened:
        yield opened


@pytest.fixture
def post(client: httpx.AsyncClient) -> Callable[..., Awaitable[str]]:
    """Post a graph that must be taken, and give its prompt id."""

    async def posted(graph: dict[str, Any], **more: Any) -> str:
        answer = await client.post("/prompt", json={"prompt": graph, **more})
        assert answer.status_code == 200, answer.text
        prompt_id: str = answer.json()["prompt_id"]
        return prompt_id

    return posted
