"""`orchestrator-mcp bench`: the benchmarks of the checkout that this program runs from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator_mcp.errors import StartError


def bench(names: Sequence[str], *, short: bool, out: Path | None, docs: bool) -> int:
    """Run benchmarks, one after the other.

    Args:
        names: which; all without any.
        short: only see that they work.
        out: where tables and pictures are left; `benchmarks/results` in the checkout unless given.
        docs: write docs/performance.md anew.

    Returns:
        The exit code.

    Raises:
        StartError: this is no checkout.
    """
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "benchmarks" / "__main__.py").is_file():
        raise StartError(
            "The benchmarks are not part of the installed program; they come with its repository.",
            hint="Run this from a checkout in which `pip install -e .` was done, or `python -m benchmarks` there.",
        )
    command = [sys.executable, "-m", "benchmarks", *names]
    command += ["--short"] if short else []
    command += ["--docs"] if docs else []
    command += ["--out", str(out.absolute())] if out is not None else []
    return subprocess.run(command, cwd=checkout, check=False).returncode
