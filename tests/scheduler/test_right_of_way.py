"""When many renders end at once, the next ones are sent before the files of the last are fetched."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from orchestrator_mcp.scheduler.right_of_way import RightOfWay


async def test_who_fetches_lets_those_go_first_who_are_on_the_way_to_send() -> None:
    way, done = RightOfWay(), list[str]()

    async def fetch(name: str) -> None:
        await way.to_fetch()
        done.append(name)

    async def send(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(name)
        way.arrived(name)

    way.hurry("a")
    way.hurry("b")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for name in ("x", "y"):
                tasks.start_soon(fetch, name)
            for name in ("a", "b"):
                tasks.start_soon(send, name)
    assert sorted(done[:2]) == ["a", "b"]
    assert sorted(done[2:]) == ["x", "y"]


async def test_who_never_arrives_keeps_nobody_for_long() -> None:
    way = RightOfWay()
    way.hurry("lost")
    with anyio.fail_after(20):
        await way.to_fetch()
