"""What a host starts when the bundle was installed by double click: an orchestrator over standard input and output.

Such a host has no folder of its own for the studio's files, so they lie where the user said when installing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orchestrator_mcp.cli import main

folder = Path(os.environ.get("ORCHESTRATOR_FOLDER") or "~/Orchestrator").expanduser()
folder.mkdir(parents=True, exist_ok=True)
os.chdir(folder)  # a config.yaml there is used; without one, data, Inbox and Outbox are made there
sys.argv = ["orchestrator-mcp", "stdio"]
main()
