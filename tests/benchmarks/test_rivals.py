"""Rivals that are absent, or do not start, are left out by name; the others are measured all the same."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from benchmarks import beside, peer, postgres
from benchmarks.postgres import AbsentError


def test_queues_that_are_not_installed_are_left_out_by_name_with_what_brings_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = {name: () if name == "ours" else ("a_module_that_nobody_has",) for name in beside.NEEDED}
    monkeypatch.setattr(beside, "NEEDED", needed)
    rows, absent = beside.queues(20)
    assert [row["queue"] for row in rows] == ["ours"]
    assert rows[0]["50 callers, jobs/s"] > 0 and rows[0]["drained, jobs/s"] > 0
    assert [one["left out"] for one in absent] == ["pgqueuer", "procrastinate", "huey"]
    assert all("a_module_that_nobody_has" in one["why"] and "[bench]" in one["why"] for one in absent)


def test_a_queue_that_does_not_start_is_left_out_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(AbsentError, match=r"^it ended with 1: \w+"):
        beside._measured("huey", str(tmp_path / "absent" / "folder"), 20)


def test_no_postgresql_is_a_reason_to_leave_out_who_needs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "PLACES", str(tmp_path))
    monkeypatch.setattr(beside, "NEEDED", {"ours": (), "pgqueuer": (), "procrastinate": ()})
    rows, absent = beside.queues(20)
    assert [row["queue"] for row in rows] == ["ours"]
    assert [one["left out"] for one in absent] == ["pgqueuer", "procrastinate"]
    assert all("PostgreSQL" in one["why"] for one in absent)


async def test_an_absent_peer_is_left_out_by_name_and_one_backend_is_measured_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peer, "MODULE", "a_module_that_nobody_has")
    with anyio.fail_after(120):
        rows, absent = await peer.compared(tmp_path, 3)
    assert [row["through"] for row in rows] == ["a script", "ours"]
    assert [one["left out"] for one in absent] == ["comfy-api-proxy"] and "[bench]" in absent[0]["why"]
