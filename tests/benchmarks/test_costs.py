"""What was seen of a process is counted for whoever was at work."""

from __future__ import annotations

from pathlib import Path

from benchmarks.costs import LOOP, MAIN, looks, shares, tally

MAIN_THREAD = "thread (1): MainThread;serve (orchestrator_mcp/command/serving.py:75)"
WORKER = "thread (2): AnyIO worker thread;Thread._bootstrap (threading.py:1002)"
SEEN = f"""\
{MAIN_THREAD};Comfy.post (orchestrator_mcp/backends/comfy.py:9);send (httpcore/_async/http11.py:7);dumps (json/x.py:3) 6
{MAIN_THREAD};run (asyncio/runners.py:118) 2
{WORKER};execute (orchestrator_mcp/store/writer.py:40);commit (sqlite3.py:3) 1
{WORKER};wait (threading.py:327) 50
"""


def test_a_look_counts_for_the_innermost_library_or_room_and_waiting_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "looks.txt").write_text(SEEN, encoding="utf-8")
    owners, threads = tally(looks(tmp_path / "looks.txt"))
    assert owners == {"httpcore (library)": 6, LOOP: 2, "orchestrator_mcp/store": 1}
    assert threads == {MAIN: 8, "worker threads": 1}


def test_the_small_shares_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "looks.txt").write_text(
        "".join(f"{MAIN_THREAD};f (orchestrator_mcp/room{n}/a.py:1) {2 if n else 8}\n" for n in range(17)),
        encoding="utf-8",
    )
    rows = shares(tally(looks(tmp_path / "looks.txt"))[0], "who")
    assert rows[0] == {"who": "orchestrator_mcp/room0", "share %": 20.0}
    assert rows[-1] == {"who": "all others", "share %": 25.0}
