"""All benchmarks, or those that are named: `python -m benchmarks [NAME...] [--short] [--docs]`.

Each runs in a process of its own and leaves a table, JSON and a picture in `benchmarks/results`. With `--docs`,
`docs/performance.md` is written anew from them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.report import write_page

ALL: Final[Mapping[str, Sequence[str]]] = {
    "utilization": ("--each", "5", "--sizes", "4"),
    "gap": ("--sizes", "1", "--each", "6", "--step-ms", "150"),
    "accepting": ("--clients", "1", "64", "--seconds", "0.3", "--turns", "1"),
    "queue_depth": ("--depths", "100", "5000", "--repeats", "10", "--turns", "1"),
    "control_plane": ("--sizes", "1", "100", "--farms", "2", "--jobs", "400", "--turns", "1"),
    "inbox": ("--drops", "3", "--waiting", "100"),
    "restart": ("--depths", "100", "2000", "--renders", "4", "--turns", "1"),
    "fan_out": ("--counts", "10", "--steps", "20"),
    "fairness": (),
    "decision": ("--repeats", "3"),
    "steadiness": (
        "--backends",
        "2",
        "--batch",
        "100",
        "--nodes",
        "50",
        "--pixels",
        "200",
        "--drops",
        "5",
        "--renders",
        "5",
    ),
    "costs": ("--backends", "2", "--jobs", "100"),
}
"""Every benchmark, in the order in which they run, with what makes it short."""

RESULTS: Final = Path("benchmarks/results")


def main() -> int:
    """Run them one after the other.

    Returns:
        1 when one of them did not run to its end.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(ALL)}; all without any")
    parser.add_argument("--short", action="store_true", help="only see that they work; the figures mean little")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where tables and pictures are left")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md anew")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(ALL)):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}")
    failed = []
    for name in given.names or ALL:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(given.out)]
        if subprocess.run([*command, *(ALL[name] if given.short else ())], check=False).returncode:
            failed.append(name)
        elif given.short:
            _mark_short(given.out / f"{name}.json")
        sys.stdout.write("\n")
    if failed:
        sys.stderr.write(f"these did not run to their end: {', '.join(failed)}\n")
    if given.docs:
        write_page(given.out, Path("docs"))
    return 1 if failed else 0


def _mark_short(left: Path) -> None:
    """Say in what a benchmark left that it ran in its shortest form."""
    content = json.loads(left.read_text(encoding="utf-8"))
    left.write_text(json.dumps({**content, "short": True}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
