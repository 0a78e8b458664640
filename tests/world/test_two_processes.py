"""One data dir belongs to one process; whoever comes second is told to whom."""

from __future__ import annotations

import re
import signal
import socket
import sys
from pathlib import Path

import anyio

from tests.world.house import write_config


async def test_of_five_that_start_at_once_one_lives_and_the_others_name_it(tmp_path: Path) -> None:
    write_config(tmp_path, "server: {port: 0}\n")
    command = [sys.executable, "-m", "orchestrator_mcp.server", "--config", str(tmp_path / "config.yaml")]
    said: dict[int, bytes] = {}
    codes: dict[int, int] = {}
    refused, ready = anyio.Event(), anyio.Event()

    async def run(alive: dict[int, anyio.abc.Process]) -> None:
        async with await anyio.open_process(command, stdin=None, stdout=None) as program:
            alive[program.pid], said[program.pid] = program, b""
            assert program.stderr is not None
            async for piece in program.stderr:
                said[program.pid] += piece
                if b"is ready" in said[program.pid]:
                    ready.set()
            codes[program.pid] = await program.wait()
            del alive[program.pid]
            if len(codes) == 4:
                refused.set()

    alive: dict[int, anyio.abc.Process] = {}
    with anyio.fail_after(90):
        async with anyio.create_task_group() as tasks:
            for _number in range(5):
                tasks.start_soon(run, alive)
            await refused.wait()
            await ready.wait()
            (owner,) = alive
            alive[owner].send_signal(signal.SIGTERM)
    assert codes.pop(owner) == 0
    assert set(codes.values()) == {73}
    for pid in codes:
        words = re.search(rb"process (\d+) on (\S+?)[.,]", said[pid])
        assert words is not None, said[pid]
        assert (int(words[1]), words[2].decode()) == (owner, socket.gethostname())
        assert b"Traceback" not in said[pid]
