"""Programs of others that the tests of the agents' door talk to, in the folder that FOREIGN_CLIENTS names.

`.ci/foreign FOLDER` fills it: `node_modules` (the conformance suite, MCP Inspector, the TypeScript SDK), `venv` (with
Node.js) and `v1` (the Python SDK of the older line).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

FOREIGN = Path(os.environ["FOREIGN_CLIENTS"]).absolute() if os.environ.get("FOREIGN_CLIENTS") else None
_OLDEST_NODE = 22


@cache
def node_of(folder: Path) -> str | None:
    """A Node.js that is new enough: the folder's own, else the system's."""
    for found in (shutil.which("node", path=str(folder / "venv/bin")), shutil.which("node")):
        if found is None:
            continue
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
        if said.startswith("v") and int(said[1:].partition(".")[0]) >= _OLDEST_NODE:
            return found
    return None


def without(program: Path) -> bool:
    """Whether a program is missing, or no folder of programs is named at all."""
    return FOREIGN is None or not program.exists()
