"""SIGKILL at the nth write, flush or rename: the kernel's own view of every gap between two deeds.

`SYSTEM_CALL_DEATHS=40 pytest -m syscalls` tries each call so many times; without it, the short version runs.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import anyio
import pytest

from tests.chaos.checker import check
from tests.chaos.doors import Wish, wishes
from tests.chaos.driver import LONGEST_LIFE, ask_when_open, last_life
from tests.chaos.ground import Ground, ground
from tests.chaos.life import life

DEATHS = int(os.environ.get("SYSTEM_CALL_DEATHS", "2"))
JOBS_OF_A_DEATH = 3
CALLS = {  # the highest n that is drawn; each thread counts for itself
    "pwrite64": 80,  # pages of the database and its log
    "fdatasync": 25,  # commits
    "fsync": 12,  # files and folders of results
    "rename": 4,  # an Inbox file that is claimed or put away, an artifact under its hash
    "renameat2": 3,  # a folder that is shown in Outbox
}


@cache
def strace() -> bool:
    """Whether strace is there and may do what it is for: a container often forbids it."""
    tool = shutil.which("strace")
    return tool is not None and subprocess.run([tool, "-qqq", "true"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.chaos,
    pytest.mark.syscalls,
    pytest.mark.skipif(not strace(), reason="strace is not installed, or may not trace here"),
]


async def dies_at(stand: Ground, asked: Sequence[Wish], call: str, nth: int) -> bool:
    """One life that is killed as it enters the nth call of this name; whether it came to that."""
    # -D: the tracer stands aside, so that the process that we start is the orchestrator itself
    under = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={call}"]
    under += ["-e", f"inject={call}:signal=KILL:when={nth}"]
    async with life(stand.config, under=under) as running, anyio.create_task_group() as tasks:
        tasks.start_soon(ask_when_open, stand, running, asked, name="ask")
        with anyio.move_on_after(LONGEST_LIFE * 1.5):
            await running.over.wait()
        died = running.over.is_set()
        running.kill()
        await running.over.wait()
        tasks.cancel_scope.cancel()
    return died


@pytest.mark.parametrize("call", CALLS)
async def test_a_crash_at_any_system_call_loses_nothing_and_renders_nothing_twice(tmp_path: Path, call: str) -> None:
    seed = sorted(CALLS).index(call) + 31
    rng = random.Random(seed)
    asked = wishes(seed, DEATHS * JOBS_OF_A_DEATH)
    async with ground(tmp_path, servers=2) as stand:
        died = [
            await dies_at(stand, asked[: (number + 1) * JOBS_OF_A_DEATH], call, rng.randint(1, CALLS[call]))
            for number in range(DEATHS)
        ]
        await last_life(stand, asked)
        verdict = check(stand)
    assert any(died), f"no life came to the call that was to end it: {call}"
    assert verdict.faults == []
    assert dict(verdict.ends) == {"completed": len(asked)}
    assert verdict.repeated == 0
