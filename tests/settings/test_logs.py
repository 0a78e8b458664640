"""The log: its one format, its fields, what it hides, and what it survives."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from orchestrator_mcp import logs
from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.logs import configure_logging, log_context

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG  |INFO   |WARNING|ERROR  ) [\w.]+ (-|\[[^\]]+\]) .*")

log = logging.getLogger("orchestrator_mcp.test_logs")


def read(folder: Path) -> list[str]:
    return (folder / "orchestrator.log").read_text(encoding="utf-8").splitlines()


def run(folder: Path, code: str, *, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    """Run a program that logs in an interpreter of its own."""
    start = "import logging, os, sys, threading, time\nfrom pathlib import Path\nfrom orchestrator_mcp import logs\n"
    start += "log = logging.getLogger('orchestrator_mcp.x')\n"
    program = start + textwrap.dedent(code)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=stderr, timeout=30, check=False)


def test_every_line_has_the_one_format(tmp_path: Path) -> None:
    with configure_logging(tmp_path / "logs", "debug", console=False):
        log.debug("plain")
        log.warning("with %s", "a field", extra={"job_id": "j1", "attempt": 2})
    lines = read(tmp_path / "logs")
    assert all(LINE.fullmatch(line) for line in lines)
    assert lines[0].endswith("DEBUG   orchestrator_mcp.test_logs - plain")
    assert lines[1].endswith("WARNING orchestrator_mcp.test_logs [job_id=j1 attempt=2] with a field")


async def test_fields_follow_the_tasks_that_are_started_inside(tmp_path: Path) -> None:
    async def attempt(number: int, everyone: anyio.Event) -> None:
        with log_context(attempt=number, backend_id=f"node{number}"):
            await everyone.wait()
            log.info("task %d", number)
            await anyio.to_thread.run_sync(log.info, f"thread {number}")

    with anyio.fail_after(10), configure_logging(tmp_path, "info", console=False):
        async with anyio.create_task_group() as tasks:
            everyone = anyio.Event()
            with log_context(job_id="j1"):
                tasks.start_soon(attempt, 1, everyone)
                tasks.start_soon(attempt, 2, everyone)
            everyone.set()
        log.info("outside")
    told = {line.split(" - ")[-1].rpartition("] ")[2]: line for line in read(tmp_path)}
    for number in (1, 2):
        fields = f"[job_id=j1 attempt={number} backend_id=node{number}]"
        assert fields in told[f"task {number}"]
        assert fields in told[f"thread {number}"]
    assert "[" not in told["outside"]


def test_what_a_call_says_wins_over_what_is_bound(tmp_path: Path) -> None:
    with configure_logging(tmp_path, "info", console=False), log_context(job_id="bound", backend_id="b"):
        log.info("x", extra={"job_id": "said"})
    assert "[job_id=said backend_id=b]" in read(tmp_path)[0]


def test_text_from_outside_cannot_make_or_colour_a_line(tmp_path: Path) -> None:
    hostile = "a\nb\r\x1b[31mred\x9b\u202eevil\u2028\u200b\x00"
    with configure_logging(tmp_path, "info", console=False):
        log.info("name %s", hostile, extra={"job_id": hostile})
        try:
            raise ValueError(f"{hostile}\n2026-01-01T00:00:00.000Z ERROR   fake - line")
        except ValueError:
            log.exception("failed")
    content = (tmp_path / "orchestrator.log").read_text(encoding="utf-8")
    assert all(character.isprintable() or character == "\n" for character in content)
    assert r"name a\nb\r\x1b[31mred\x9b\u202eevil\u2028\u200b\x00" in content
    lines = content.splitlines()
    assert [line for line in lines if not line.startswith("    ")] == lines[:2]
    assert lines[2] == "    Traceback (most recent call last):"
    assert any(line.startswith("    2026-01-01") for line in lines)


def test_half_characters_of_broken_file_names_are_escaped() -> None:
    assert logs.escape("a\udc80b\U000e0041") == r"a\udc80b\U000e0041"


def test_secrets_do_not_reach_the_log(tmp_path: Path) -> None:
    logs.hide("canary/registered&1")
    with configure_logging(tmp_path, "info", console=False):
        log.info("token is %s", "canary/registered&1")
        log.info("GET /x?t=canary%2Fregistered%261 HTTP/1.1")
        log.info("headers %s", {"Authorization": "Bearer canary", "Cookie": "a=canary; b=canary"})
        log.info("headers %s", [(b"authorization", b"Basic canary")])
        log.info("Authorization: Digest user=canary, realm=canary")
        log.info('{"extra_data": {"api_key_comfy_org": "canary canary", "auth_token_comfy_org":"canary"}}')
        log.info("connecting to http://user:canary@p@node1:8188/ws?token=canary&clientId=kept")
        log.info('cut off: {"token": "canary and the rest of canary')
        log.info('cut off: {"text": "{\\"password\\": \\"canary and the rest of canary')
        try:
            raise ValueError("password=canary kept")
        except ValueError:
            log.exception("failed")
    content = "\n".join(read(tmp_path))
    assert "canary" not in content
    assert "clientId=kept" in content
    assert content.count("[hidden]") >= 10


def test_ordinary_words_are_left_alone(tmp_path: Path) -> None:
    ordinary = "token_file /x/y, the secret garden, max_tokens=5, http://node1:8188/a@b, cookies, key: ckpt_name"
    with configure_logging(tmp_path, "info", console=False):
        log.info(ordinary)
    assert read(tmp_path)[0].endswith(ordinary)


def test_the_level_decides_and_chatty_libraries_are_quiet(tmp_path: Path) -> None:
    for level in ("warning", "info", "debug"):
        with configure_logging(tmp_path / level, level, console=False):
            log.info("ours")
            for name in ("httpx", "mcp.server.lowlevel.server", "uvicorn.error", "uvicorn.access"):
                logging.getLogger(name).info("theirs")
    names = {level: [line.split()[2] for line in read(tmp_path / level)] for level in ("warning", "info", "debug")}
    assert names["warning"] == []
    assert names["info"] == ["orchestrator_mcp.test_logs"]
    assert len(names["debug"]) == 5


def test_leaving_puts_the_logging_of_the_process_back() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("httpx").level)
    with configure_logging(None, "debug"):
        assert root.level == logging.DEBUG
    assert (root.level, list(root.handlers), logging.getLogger("httpx").level) == before


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(SettingsError, match="no log level 'loud'. Take one of debug, info, warning, error"):
        configure_logging(None, "loud").__enter__()


def test_a_wrong_log_call_is_told_and_harms_nothing(tmp_path: Path) -> None:
    code = """
        with logs.configure_logging(Path(sys.argv[1]), "info", console=False):
            log.info("count %d", "many")
            log.info("next")
    """
    ended = run(tmp_path, code)
    assert (ended.returncode, ended.stderr) == (0, b"")
    lines = read(tmp_path)
    assert "'count %d' (the log call is wrong: TypeError)" in lines[0]
    assert lines[1].endswith("next")


def test_a_huge_message_becomes_a_short_line(tmp_path: Path) -> None:
    with configure_logging(tmp_path, "info", console=False):
        log.info("x" * 5_000_000)
    assert len(read(tmp_path)[0]) < 10_000


def test_the_file_is_rotated_and_three_older_ones_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 2_000)
    with configure_logging(tmp_path, "info", console=False):
        for number in range(200):
            log.info("line %d %s", number, "x" * 50)
    files = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sorted(files) == ["orchestrator.log"] + [f"orchestrator.log.{number}" for number in (1, 2, 3)]
    assert max(files.values()) <= 2_000
    assert "line 199" in read(tmp_path)[-1]


def test_lost_lines_are_counted_and_told_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs"
    folder.write_text("a file where the folder should be", encoding="utf-8")
    five_lost = threading.Event()
    make_loss = logs._make_loss

    def note(lost: int) -> logging.LogRecord:
        if lost >= 5:
            five_lost.set()
        return make_loss(lost)

    monkeypatch.setattr(logs, "_make_loss", note)
    with configure_logging(folder, "info", console=False):  # warns first that the folder cannot be used
        for number in range(6):
            log.info("line %d", number)
        assert five_lost.wait(10)
        folder.unlink()
        folder.mkdir(exist_ok=True)  # the writer may make it first
        log.info("kept")
    lines = read(folder)
    told = re.search(r"(\d+) log lines were lost", "\n".join(lines))
    assert told is not None
    assert lines[-1].endswith("kept")
    assert int(told[1]) >= 5
    assert int(told[1]) + len(lines) - 1 == 8


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_does_not_stop_the_program_or_its_console(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.log").symlink_to("/dev/full")
    code = """
        with logs.configure_logging(Path(sys.argv[1]), "info"):
            for number in range(50):
                log.info("line %d", number)
        print("done")
    """
    ended = run(tmp_path, code)
    assert (ended.returncode, ended.stdout) == (0, b"done\n")
    lines = ended.stderr.decode().splitlines()
    assert [line.rpartition(" ")[2] for line in lines if "line " in line] == [str(number) for number in range(50)]
    assert "Traceback" not in ended.stderr.decode()


def test_a_closed_stderr_does_not_stop_the_program_or_its_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = """
        with logs.configure_logging(Path(sys.argv[1]), "info"):
            log.info("kept")
        print("done")
    """
    try:
        ended = run(tmp_path, code, stderr=writing)
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stdout) == (0, b"done\n")
    assert read(tmp_path)[0].endswith("kept")


def test_a_stderr_that_nobody_reads_holds_up_neither_the_program_nor_its_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = """
        with logs.configure_logging(Path(sys.argv[1]), "info"):
            for number in range(3000):
                log.info("line %d %s", number, "x" * 100)
        print("done")
    """
    try:
        ended = run(tmp_path, code, stderr=writing)
    finally:
        os.close(writing)
        os.close(reading)
    assert (ended.returncode, ended.stdout) == (0, b"done\n")
    assert len(read(tmp_path)) == 3000


def test_without_any_stderr_the_file_is_written(tmp_path: Path) -> None:
    code = """
        sys.stderr = None
        with logs.configure_logging(Path(sys.argv[1]), "info"):
            log.info("kept")
    """
    assert run(tmp_path, code).returncode == 0
    assert read(tmp_path)[0].endswith("kept")


def test_a_crash_is_on_the_console_and_nothing_before_it_is_missing(tmp_path: Path) -> None:
    code = """
        with logs.configure_logging(None, "info"):
            log.info("first")
            raise SystemExit(3)
    """
    ended = run(tmp_path, code)
    assert ended.returncode == 3
    assert ended.stderr.decode().rstrip().endswith("first")
    assert ended.stdout == b""


def test_a_flood_loses_lines_and_no_memory(tmp_path: Path) -> None:
    code = """
        logs.MAX_WAITING = 10
        sys.setswitchinterval(1)
        with logs.configure_logging(Path(sys.argv[1]), "info", console=False):
            for number in range(20000):
                log.info("line %d", number)
    """
    assert run(tmp_path, code).returncode == 0
    lines = read(tmp_path)
    lost = sum(int(found[1]) for line in lines if (found := re.search(r"(\d+) log lines were lost", line)))
    written = sum(" line " in line for line in lines)
    assert lost > 0
    assert lost + written == 20000
