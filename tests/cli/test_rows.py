"""Tables on terminals of any width: no word is broken while whole ones fit."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator_mcp.command.rows import Rows

JOB = "01a208f2-4719-7448-9cb7-96db9d158ec2"
CELLS = (JOB, "completed", "my_workflow_001", "sandbox", "2026-11-23 15:07:05", "completed, 1 file in 0.1 s")


def shown(width: int) -> list[str]:
    """What a terminal of this width shows of two jobs."""
    rows = Rows("Job", "Status", "Workflow", "Backend", "Submitted", "What it does")
    for _ in range(2):
        rows.add(*map(Text, CELLS))
    output = io.StringIO()
    Console(file=output, width=width, force_terminal=False).print(rows, crop=False)
    return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_word_is_broken_and_no_line_is_too_long(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    words = set(re.split(r"\s+", "\n".join(lines)))
    for cell in CELLS:
        assert set(cell.split()) <= words


def test_a_wide_terminal_has_a_heading_and_a_line_for_each_row() -> None:
    lines = shown(200)
    assert len(lines) == 3
    assert lines[0].split() == ["Job", "Status", "Workflow", "Backend", "Submitted", "What", "it", "does"]


def test_a_cell_is_wrapped_before_a_word_is_broken() -> None:
    lines = shown(128)
    assert lines[0].startswith("Job ")
    assert "my_workflow_001   sandbox   2026-11-23 15:07:05   completed," in lines[1]


def test_a_narrow_terminal_has_a_paragraph_for_each_row_that_names_its_values() -> None:
    assert shown(80)[:2] == [
        f"{JOB}  completed",
        "  Workflow: my_workflow_001   Backend: sandbox   Submitted: 2026-11-23 15:07:05",
    ]
