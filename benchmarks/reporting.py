"""Tables on the screen, numbers in JSON, bars in a picture: what every benchmark leaves behind."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Row = dict[str, Any]

_COLOURS = ("#3b6ea5", "#c8553d", "#6a994e", "#8d6a9f", "#c9a227", "#5c6770")
_WIDTH, _LEFT, _LINE = 1100, 400, 24


def machine() -> dict[str, Any]:
    """What this was measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "files": file_system(Path(tempfile.gettempdir())),
    }


def file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on; empty where nobody tells."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    place = folder.resolve()
    above = [(len(point), kind) for _, point, kind, *_ in mounts if place.is_relative_to(point)]
    return max(above, default=(0, ""))[1]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


@dataclass
class Report:
    """What a benchmark says.

    Attributes:
        name: of the files that it leaves.
        title: one line on top.
        on: the machine.
        goals: what was to be reached, and what was.
        notes: how it was measured, and what limits it.
    """

    name: str
    title: str
    on: dict[str, Any]
    tables: dict[str, list[Row]] = field(default_factory=dict)
    charts: list[tuple[str, list[tuple[str, float]], float | None]] = field(default_factory=list)
    goals: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def table(self, name: str, rows: Iterable[Row]) -> None:
        """Add a table; its rows have the same columns."""
        self.tables[name] = list(rows)

    def bars(self, title: str, bars: Iterable[tuple[str, float]], goal: float | None = None) -> None:
        """Add a chart: a bar for each name, and a line at the goal."""
        self.charts.append((title, list(bars), goal))

    def goal(self, what: str, measured: float, *, most: float | None = None, least: float | None = None) -> None:
        """Hold a figure against its goal.

        Args:
            what: the figure, in words.
            measured: its value.
            most: it should be no more than this.
            least: it should be no less than this.
        """
        met = (most is None or measured <= most) and (least is None or measured >= least)
        goal = f"≤ {most:g}" if most is not None else f"≥ {least:g}"
        self.goals.append({"what": what, "measured": f"{measured:.3g}", "goal": goal, "met": "yes" if met else "no"})

    def write(self, folder: Path) -> None:
        """Print all of it, and leave `<name>.json` and `<name>.png` in a folder."""
        out = sys.stdout.write
        out(f"# {self.title}\n\n{sentence(self.on)}\n")
        for name, rows in self.tables.items():
            out(f"\n## {name}\n\n{markdown(rows)}\n")
        if self.goals:
            out(f"\n## goals\n\n{markdown(self.goals)}\n")
        out("".join(f"\n{note}\n" for note in self.notes))
        sys.stdout.flush()
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "title": self.title,
            "machine": self.on,
            "tables": self.tables,
            "goals": self.goals,
            "notes": self.notes,
        }
        (folder / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if self.charts:
            _drawn(self.title, sentence(self.on), self.charts).save(folder / f"{self.name}.png", optimize=True)


def markdown(rows: Sequence[Row]) -> str:
    """A table as Markdown."""
    heads = list(rows[0]) if rows else []
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(str(row[head]) for head in heads) + " |" for row in rows])


def sentence(on: dict[str, Any]) -> str:
    """The machine in a line."""
    said = f"{on['processor']}, {on['cores']} cores, load {on['load']}, {on['system']}, Python {on['python']}"
    return f"{said}, {on['files']}" if on.get("files") else said


def _drawn(title: str, below: str, charts: Sequence[tuple[str, list[tuple[str, float]], float | None]]) -> Image.Image:
    height = 90 + sum(70 + _LINE * len(bars) for _, bars, _ in charts)
    picture = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(20), ImageFont.load_default(14)
    draw.text((20, 14), title, "black", large)
    draw.text((20, 46), below, "#5c6770", small)
    top = 90
    for name, bars, goal in charts:
        draw.text((20, top), name, "black", large)
        _bars(draw, top + 36, bars, goal, small)
        top += 70 + _LINE * len(bars)
    return picture


def _bars(
    draw: ImageDraw.ImageDraw,
    top: int,
    bars: Sequence[tuple[str, float]],
    goal: float | None,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    most = max([value for _, value in bars] + [goal or 0.0]) or 1.0
    scale = (_WIDTH - _LEFT - 110) / most
    endings = list(dict.fromkeys(label.rpartition(": ")[2] for label, _ in bars))
    for number, (label, value) in enumerate(bars):
        y = top + _LINE * number
        colour = _COLOURS[endings.index(label.rpartition(": ")[2]) % len(_COLOURS)] if len(endings) < 7 else _COLOURS[0]
        draw.text((20, y), label, "black", font)
        draw.rectangle((_LEFT, y + 2, _LEFT + max(1, value * scale), y + _LINE - 6), colour)
        draw.text((_LEFT + value * scale + 8, y), f"{value:g}", "black", font)
    if goal is not None:
        x = _LEFT + goal * scale
        draw.line((x, top - 4, x, top + _LINE * len(bars)), "#c8553d", 2)
