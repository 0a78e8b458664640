"""When many renders end at once, the next ones are sent first, and nobody holds the loop for all of them."""

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
        await way.to_send()
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


async def test_each_begins_in_a_turn_of_the_loop_of_its_own() -> None:
    way, turns, begun = RightOfWay(), 0, list[int]()

    async def send() -> None:
        await way.to_send()
        begun.append(turns)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(send)
            while len(begun) < 50:
                await anyio.lowlevel.checkpoint()
                turns += 1
    assert len(set(begun)) == 50
