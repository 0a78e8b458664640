"""Every benchmark runs to its end in its shortest form, and leaves what the page of figures is made of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import orchestrator_mcp
from benchmarks.__main__ import ALL
from benchmarks.report import write_page
from benchmarks.reporting import Report, machine

IN_CI = "queue_depth"
PATIENCE = 170  # seconds


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.bench
@pytest.mark.skipif(os.name != "posix", reason="processes are killed as POSIX has it")
@pytest.mark.parametrize("name", ALL)
def test_a_benchmark_runs_to_its_end_and_leaves_a_table_and_a_picture(name: str, tmp_path: Path) -> None:
    if name != IN_CI and not os.environ.get("BENCHMARKS"):
        pytest.skip("only one runs unless BENCHMARKS is set")
    if name == "costs" and shutil.which("py-spy") is None:
        pytest.skip("py-spy is not installed (`pip install '.[bench]'`)")
    ended = run(name, "--short", "--out", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    left = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert left["machine"]["cores"] == os.cpu_count()
    assert all(rows for rows in left["tables"].values()) and left["tables"]
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert picture.width > 1000
    write_page(tmp_path, tmp_path / "docs")
    page = (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
    assert f"](performance/{name}.png)" in page and left["title"] in page
    assert "In its shortest form" in page
    assert (tmp_path / "docs" / "performance" / f"{name}.png").exists()


def test_a_name_that_no_benchmark_has_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    ended = run("gaps", "--out", str(tmp_path))
    assert ended.returncode == 2
    assert "gaps" in ended.stderr and "accepting" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_a_goal_says_whether_it_was_met(tmp_path: Path) -> None:
    report = Report("one", "One", machine())
    for measured in (0.84, 0.85, 1.15, 1.16):
        report.goal("a ratio", measured, most=1.15)
        report.goal("a rate", measured, least=0.85)
    report.write(tmp_path)
    goals = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))["goals"]
    assert [goal["met"] for goal in goals] == ["yes", "no", "yes", "yes", "yes", "yes", "no", "yes"]


def test_a_page_says_that_a_machine_was_busy(tmp_path: Path) -> None:
    for load, busy in (([0.1, 0, 0], False), ([9.0, 0, 0], True)):
        report = Report("gap", "Gaps", {**machine(), "cores": 2, "load": load})
        report.table("gap", [{"who": "ours", "ms": 1}])
        report.write(tmp_path)
        write_page(tmp_path, tmp_path / "docs")
        page = (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
        assert ("busy with other work" in page) is busy


def test_the_command_runs_the_benchmarks_of_its_checkout() -> None:
    ended = bench(Path(__file__).resolve().parents[2])
    assert ended.returncode == 2 and "accepting" in ended.stderr


def test_the_command_says_where_benchmarks_are_when_it_was_installed_without_them(tmp_path: Path) -> None:
    shutil.copytree(Path(orchestrator_mcp.__file__).parent, tmp_path / "orchestrator_mcp")
    ended = bench(tmp_path)
    assert ended.returncode == 1
    assert "come with its repository" in ended.stderr and "Traceback" not in ended.stderr


def bench(folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask for a benchmark that there is not, of the program in a folder."""
    command = [sys.executable, "-m", "orchestrator_mcp.cli", "bench", "gaps"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
