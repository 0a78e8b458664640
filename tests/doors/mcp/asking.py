"""Calling tools as a client does, and reading their answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
from mcp import Client
from mcp.types import CallToolResult, TextContent

from orchestrator_mcp.doors.mcp.tools import build_server
from tests.doors.mcp.farm import ServiceDouble


@asynccontextmanager
async def connected(farm: ServiceDouble, era: Literal["auto", "legacy"] = "auto") -> AsyncIterator[Client]:
    with anyio.fail_after(10):
        async with Client(build_server(farm, version="1.2.3"), mode=era) as client:
            yield client


def told(result: CallToolResult) -> dict[str, Any]:
    """The structure of an answer, which its text must repeat."""
    assert not result.is_error, result.content
    structure: dict[str, Any] = json.loads(words(result))
    assert structure == result.structured_content
    return structure


def words(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def refused(result: CallToolResult) -> str:
    assert result.is_error
    return words(result)
