"""Commands of the program without the second that their imports take: `python tests/cli/forking.py SOCKET`.

This process has imported everything. For each command it is told on the socket it forks a process that has folder,
environment, arguments and streams of its own, and tells how that ended; it ends itself when the socket is closed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from orchestrator_mcp import cli, command

LARGEST_ORDER = 1 << 16  # bytes


def main() -> None:
    """Fork until nobody wants a command any more; a child goes on as the command."""
    for module in pkgutil.iter_modules(command.__path__):
        importlib.import_module(f"{command.__name__}.{module.name}")
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        while True:
            said, streams, _, _ = socket.recv_fds(orders, LARGEST_ORDER, 3)
            if not said:
                return
            child = os.fork()
            if child == 0:
                break
            for stream in streams:
                os.close(stream)
            _, status = os.waitpid(child, 0)
            orders.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
    _become(json.loads(said), streams)
    cli.main()


def _become(order: dict[str, Any], streams: Sequence[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["orchestrator-mcp", *order["arguments"]]
    signal.alarm(order["seconds"])


if __name__ == "__main__":
    main()
