"""What a benchmark leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.reporting import Report, machine


def test_a_report_is_printed_and_leaves_numbers_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("speed", "How fast it is", machine())
    report.table("one", [{"who": "ours", "ms": 1.5}, {"who": "theirs", "ms": 3.0}])
    report.bars("Milliseconds", [("ours", 1.5), ("theirs", 3.0)], goal=2.0)
    report.write(tmp_path / "new")
    told = capsys.readouterr().out
    assert "| ours | 1.5 |" in told
    assert "cores" in told, "the machine is named"
    kept = json.loads((tmp_path / "new" / "speed.json").read_text(encoding="utf-8"))
    assert kept["tables"]["one"][1] == {"who": "theirs", "ms": 3.0}
    with Image.open(tmp_path / "new" / "speed.png") as picture:
        picture.load()
        assert picture.width > 500


def test_a_table_without_rows_is_no_error(tmp_path: Path) -> None:
    report = Report("empty", "Nothing", machine())
    report.table("none", [])
    report.bars("none", [])
    report.write(tmp_path)
    assert (tmp_path / "empty.json").exists()
