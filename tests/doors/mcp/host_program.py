"""A program for the tests to start: what `orchestrator-mcp stdio` runs, with little patience."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio

from orchestrator_mcp.app import Choices, serve_stdio
from orchestrator_mcp.settings import load_settings

if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    choices = Choices(any_port=True, takeover_after=0.5)
    sys.exit(anyio.run(serve_stdio, load_settings(Path(sys.argv[1]), environ={}), choices))
