"""Writes `docs/performance.md` from what the benchmarks left: `python -m benchmarks.report`.

No figure stands there that was not measured, and each with its machine and how busy that was.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.reporting import markdown, sentence

ORDER: Final = (
    "utilization",
    "gap",
    "accepting",
    "queue_depth",
    "control_plane",
    "inbox",
    "restart",
    "fan_out",
    "fairness",
    "decision",
    "steadiness",
    "costs",
)
BUSY: Final = 0.5  # load for each core, from which on a machine is called busy

HEAD: Final = """# Performance

What the orchestrator costs and how busy it keeps a farm, measured. Every figure on this page comes from one command,
and compares within the same run: with what no program could beat, or with what others do. Machines differ and are
noisy; the ratios hold better than the times.

```sh
python -m benchmarks --docs          # all of them, from a checkout; this page is written anew
python -m benchmarks gap accepting   # some of them
pip install '.[bench]'               # what other queues and the nearest peer cost is then measured beside ours
orchestrator-mcp bench --short       # only to see that they work
```

They leave tables, JSON and pictures in `benchmarks/results`. Farms are sandbox servers in one other process that serves
many ports, so on a small machine that process is often the limit; where it is, the notes say so. Goals that are not met
are shown like those that are.
"""


def write_page(results: Path, docs: Path) -> None:
    """Write the page, and lay its pictures beside it.

    Args:
        results: what the benchmarks left.
        docs: where the page belongs.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) | {"name": name} for name, path in _files(results)]
    pictures = docs / "performance"
    pictures.mkdir(parents=True, exist_ok=True)
    for one in found:
        if (picture := results / f"{one['name']}.png").exists():
            shutil.copyfile(picture, pictures / picture.name)
    parts = [HEAD, *_goals(found), *(_section(one, pictures) for one in found)]
    (docs / "performance.md").write_text("\n".join(parts), encoding="utf-8")


def _files(results: Path) -> Iterator[tuple[str, Path]]:
    return ((name, path) for name in ORDER if (path := results / f"{name}.json").exists())


def _goals(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [{"benchmark": one["name"], **goal} for one in found for goal in one.get("goals", ())]
    if rows:
        yield f"## Goals\n\n{markdown(rows)}\n"
    if any(one.get("short") or _busy(one["machine"]) for one in found):
        yield "Some were measured in the shortest form, or on a busy machine, as their sections say.\n"


def _section(one: dict[str, Any], pictures: Path) -> str:
    on = one["machine"]
    lines = [f"## {one['title']}\n", f"`python -m benchmarks.{one['name']}` on {sentence(on)}.\n"]
    if _busy(on):
        lines.append("**Measured while the machine was busy with other work: the times are too long.**\n")
    if one.get("short"):
        lines.append("**In its shortest form, only to see that it works: the figures mean little.**\n")
    for name, rows in one["tables"].items():
        lines.append(f"{name[:1].upper()}{name[1:]}:\n\n{markdown(rows)}\n")
    lines += [f"{note}\n" for note in one.get("notes", ())]
    if (pictures / f"{one['name']}.png").exists():
        lines.append(f"![{one['title']}](performance/{one['name']}.png)\n")
    return "\n".join(lines)


def _busy(on: dict[str, Any]) -> bool:
    return bool(on["load"]) and on["load"][0] > BUSY * (on["cores"] or 1)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args()
    write_page(given.results, given.docs)


if __name__ == "__main__":
    main()
