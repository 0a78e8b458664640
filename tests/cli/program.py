"""The program as its users start it: a process of its own, in a folder of its own."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import Queue
from tempfile import TemporaryFile
from typing import IO

ROOT = Path(__file__).parents[2]
CLI = (sys.executable, "-m", "orchestrator_mcp.cli")
SERVER = (sys.executable, "-m", "orchestrator_mcp.server")
SECONDS = 60.0
_URL = re.compile(r"API +(http://\S+)/api ")


def environment(**more: str) -> dict[str, str]:
    """The environment without what a developer's own may say to the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TERM": "dumb", **more}


def run(
    *arguments: str, folder: Path, stdin: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end, in a process of its own.

    An environment that speaks to Python needs a Python that starts in it; else the imports are made once for all.
    """
    given = env or {}
    run_one = _run_anew if any(name.startswith("PYTHON") for name in given) else _run_forked
    with TemporaryFile() as read, TemporaryFile() as out, TemporaryFile() as err:
        read.write((stdin or "").encode())
        read.seek(0)
        code = run_one(arguments, folder, environment(**given), (read, out, err))
        encoding = given.get("PYTHONIOENCODING", "utf-8")
        said = [_text(stream, encoding) for stream in (out, err)]
    return subprocess.CompletedProcess([*CLI, *arguments], code, *said)


def _run_anew(arguments: Sequence[str], folder: Path, env: Mapping[str, str], streams: Sequence[IO[bytes]]) -> int:
    read, out, err = streams
    command = [*CLI, *arguments]
    return subprocess.run(
        command, cwd=folder, env=env, stdin=read, stdout=out, stderr=err, timeout=SECONDS, check=False
    ).returncode


def _run_forked(arguments: Sequence[str], folder: Path, env: Mapping[str, str], streams: Sequence[IO[bytes]]) -> int:
    order = {"arguments": arguments, "folder": str(folder), "environment": dict(env), "seconds": round(SECONDS)}
    orders = _forking()
    socket.send_fds(orders, [json.dumps(order).encode()], [stream.fileno() for stream in streams])
    answer = orders.recv(100)
    assert answer, "no more commands can be started"
    code: int = json.loads(answer)
    assert code != -signal.SIGALRM, f"{' '.join(arguments)} took more than {SECONDS} s"
    return code


@cache
def _forking() -> socket.socket:
    """What forks commands for this process of pytest, to its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, str(Path(__file__).with_name("forking.py")), str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
    atexit.register(_end, ours, process)
    return ours


def _end(orders: socket.socket, process: subprocess.Popen[bytes]) -> None:
    orders.close()
    process.wait()


def _text(stream: IO[bytes], encoding: str) -> str:
    stream.seek(0)
    return stream.read().decode(encoding).replace("\r\n", "\n")


@dataclass
class Running:
    """A process, and what it writes to standard error as it comes."""

    process: subprocess.Popen[str]
    lines: Queue[str | None] = field(default_factory=Queue)
    said: list[str] = field(default_factory=list)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on that matches; fails when the process ends or is silent for too long."""
        while True:
            line = self.lines.get(timeout=SECONDS)
            assert line is not None, "the program ended:\n" + "".join(self.said)
            self.said.append(line)
            if match := re.search(pattern, line):
                return match

    def all_said(self) -> str:
        """Everything that it wrote, once it has ended."""
        while (line := self.lines.get(timeout=SECONDS)) is not None:
            self.said.append(line)
        return "".join(self.said)

    def press_ctrl_c(self, *, within: float = 20.0) -> int:
        """As a terminal does: to the process and to all its children; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=within)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = 10.0) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=within)


@contextmanager
def started(*command: str, folder: Path, stdout_too: bool = False) -> Iterator[Running]:
    """Start a process in a group of its own; it is ended with the block.

    With `stdout_too`, its standard output is heard as well.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout_too else subprocess.DEVNULL,
        stderr=subprocess.STDOUT if stdout_too else subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        running = Running(process)
        reader = threading.Thread(target=_read, args=(running,), daemon=True)
        reader.start()
        try:
            yield running
        finally:
            _kill_all(process)
            process.wait()
            reader.join()


def _kill_all(process: subprocess.Popen[str]) -> None:
    """Its children too: whoever holds the pipe holds up the reader."""
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(running: Running) -> None:
    source = running.process.stdout or running.process.stderr
    assert source is not None
    for line in source:
        running.lines.put(line)
    running.lines.put(None)


@contextmanager
def served(folder: Path, *options: str, config: str = "server: {port: 0}\n") -> Iterator[tuple[Running, str]]:
    """An orchestrator in a folder; the process and its url."""
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    with started(*SERVER, *options, folder=folder) as running:
        yield running, running.wait_for(_URL.pattern)[1]
