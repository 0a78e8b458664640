"""How the tests run, wherever they stand."""

from __future__ import annotations

import os


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: tests mostly wait, for processes, sockets and disks."""
    return 2 * (os.cpu_count() or 1)
