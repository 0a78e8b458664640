"""The icons of the tools: served by the server itself, and small beside the list that names them."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Tool
from PIL import Image

from orchestrator_mcp.doors.mcp.icons import LONGEST_BASE
from tests.doors.mcp.farm import ServiceDouble
from tests.doors.mcp.served import Served, served
from tests.doors.mcp.test_tools import TOKEN_BUDGET
from tests.doors.mcp.test_transports import client_at


async def tools_of(server: Served) -> list[Tool]:
    async with Client(streamable_http_client(f"{server.url}/mcp")) as client:
        return (await client.list_tools()).tools


def tokens(tools: list[Tool]) -> float:
    listed = [tool.model_dump(by_alias=True, exclude_none=True) for tool in tools]
    return len(json.dumps(listed, separators=(",", ":")).encode()) / 4


@pytest.mark.parametrize("era", ["auto", "legacy"])
@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_every_tool_has_an_icon_of_its_own_that_is_served_where_it_was_listed(path: str, era: str) -> None:
    async with served(ServiceDouble()) as server, httpx.AsyncClient(trust_env=False) as browser:
        async with client_at(server.url, path, era) as client:
            tools = (await client.list_tools()).tools
        addresses = [icon.src for tool in tools for icon in tool.icons or ()]
        assert len(addresses) == len(tools) == len(set(addresses))
        drawn = set()
        for address in addresses:
            assert address.startswith(f"{server.url}/")
            found = await browser.get(address)
            assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
            with Image.open(io.BytesIO(found.content)) as picture:
                assert picture.size == (64, 64)
            drawn.add(found.content)
        assert len(drawn) == len(tools)
        assert (await browser.get(f"{server.url}/i/nothing.png")).status_code == 404


async def test_the_list_of_tools_keeps_its_budget_under_every_address() -> None:
    long = f"https://{'renders.studio.example'.ljust(LONGEST_BASE - len('https://'), 'x')}"
    async with served(ServiceDouble(), public_url=long) as server:
        tools = await tools_of(server)
    assert all(tool.icons and tool.icons[0].src.startswith(long) for tool in tools)
    assert tokens(tools) <= TOKEN_BUDGET
    async with served(ServiceDouble(), public_url=f"{long}x") as server:
        assert not any(tool.icons for tool in await tools_of(server))
