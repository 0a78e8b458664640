"""What `list_backends` tells of a machine that is not simply free or busy."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
from mcp import Client

from orchestrator_mcp.domain.views import BlockView, WishView
from orchestrator_mcp.doors.mcp.tools import build_server
from tests.doors.mcp.farm import ServiceDouble


async def test_a_machine_tells_who_drained_it_and_which_work_avoids_it() -> None:
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    wish = WishView(kind="draining", by="ann", at=at, note="new card\x1b[31m")
    block = BlockView(signature="ab", workflow_id="film", failures=2, reason="out of memory", since=at, until=at)
    farm = ServiceDouble()
    farm.farm = [farm.farm[0].model_copy(update={"wish": wish, "blocked": [block]})]
    with anyio.fail_after(10):
        async with Client(build_server(farm, version="1.2.3")) as client:
            result = await client.call_tool("list_backends", {})
    assert result.structured_content is not None
    (line,) = result.structured_content["backends"]
    assert line["wish"] == "draining by ann since 2026-01-02 03:04 UTC: new card[31m"
    assert line["blocked"] == [
        "jobs like film go elsewhere until 2026-01-02 03:04 UTC: they failed here 2 times in a row: out of memory"
    ]
