"""An MCP server with one tool that gives back what it was given: `python -m benchmarks.echo`.

Prints its url as one line of JSON, and stops when its standard input ends.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer

from orchestrator_mcp.command.serving import FASTEST_LOOP


def main() -> None:
    """Serve streamable HTTP on a free port."""
    server: MCPServer[Any] = MCPServer("echo")

    @server.tool()
    def submit_job(workflow: dict[str, Any]) -> dict[str, Any]:
        """Give it back."""
        return workflow

    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(json.dumps(f"http://127.0.0.1:{listener.getsockname()[1]}") + "\n")
        sys.stdout.flush()
        threading.Thread(target=_end_with_input, daemon=True).start()
        loop = "uvloop" if FASTEST_LOOP["use_uvloop"] else "asyncio"
        config = uvicorn.Config(server.streamable_http_app(), log_config=None, loop=loop)
        uvicorn.Server(config).run(sockets=[listener])


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
