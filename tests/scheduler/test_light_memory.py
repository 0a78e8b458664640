from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from orchestrator_mcp.scheduler.dispatcher import most_collecting
from tests.scheduler.core import PICTURE, backend_for, core

FAST = SandboxOptions(step_ms=1, load_ms=0)
OURS = ("orchestrator_mcp.scheduler", "orchestrator_mcp.domain", "orchestrator_mcp.backends", "orchestrator_mcp.store")


@contextmanager
def what_circles() -> Iterator[list[str]]:
    """The kinds of our objects that only the garbage collector could free, filled in at the end."""
    found: list[str] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += sorted({f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_a_job_leaves_nothing_behind_that_only_the_garbage_collector_frees(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        await running.end_of(await running.submit(PICTURE))
        with what_circles() as found:
            for turn in range(3):
                await running.end_of(await running.submit(PICTURE, metadata={"turn": turn}))
    assert [kind for kind in found if kind.startswith(OURS)] == []


@pytest.mark.parametrize(("backends", "allowed"), [(0, 8), (1, 8), (8, 8), (16, 4), (100, 2), (1000, 2)])
def test_on_a_large_farm_fewer_files_of_each_backend_are_fetched_beside_its_renders(
    backends: int, allowed: int
) -> None:
    assert most_collecting(backends) == allowed
