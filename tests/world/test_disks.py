"""Disks that are full, read-only or gone: nothing is accepted, nothing is lost, and it goes on by itself."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client

from orchestrator_mcp.sandbox import SandboxServer
from tests.world.house import CARD, House, backend, configured, house, until, write_config

LITTLE = "limits: {free_bytes: 1MB}\n"


async def until_closed(at: House, words: str) -> dict[str, Any]:
    """Wait until health says that nothing is accepted, and why."""

    async def closed() -> bool:
        health = await at.health()
        return not health["accepting"] and any(words in problem for problem in health["problems"])

    await until(closed)
    return await at.health()


async def until_open(at: House) -> None:
    async def opened() -> bool:
        health = await at.health()
        return bool(health["accepting"]) and health["problems"] == []

    await until(opened, 40)


async def assert_refused(at: House, words: str) -> None:
    """A manifest is refused with 503, a time to come back, and the reason."""
    answer = await at.api.post("/api/job", json={"workflow": CARD})
    assert (answer.status_code, words in answer.text) == (503, True), answer.text
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("which", ["data_dir", "outbox_dir", "log_dir"])
async def test_a_folder_that_vanishes_stops_accepting_until_it_is_back(
    tmp_path: Path, sandbox: SandboxServer, which: str
) -> None:
    os.mkdir(tmp_path / "logs")
    async with house(tmp_path, configured(backend("one", sandbox))) as at:
        before = await at.ended(await at.submit())
        folder = getattr(at.settings, which)
        os.rename(folder, tmp_path / "elsewhere")
        health = await until_closed(at, f"{folder} is gone")
        assert health["status"] == "degraded"
        await assert_refused(at, f"{folder} is gone")
        dropped = at.drop("waits.json")
        assert (await at.job(before["job_id"]))["status"] == "completed"
        assert dropped.is_file()
        os.rename(tmp_path / "elsewhere", folder)
        await until_open(at)
        assert (await at.ended(await at.submit()))["status"] == "completed"

        async def processed() -> bool:
            return (at.settings.inbox_dir / "processed" / "waits.json").is_file()

        await until(processed)
    assert not (tmp_path / "elsewhere").exists()


async def test_an_agent_is_told_why_nothing_is_accepted(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with house(tmp_path, configured(backend("one", sandbox))) as at:
        await at.ended(await at.submit())
        os.rename(at.settings.outbox_dir, tmp_path / "elsewhere")
        await until_closed(at, "is gone")
        async with Client(str(at.api.base_url.join("/mcp"))) as agent:
            answer = await agent.call_tool("submit_job", {"workflow": CARD})
    assert answer.is_error
    assert "Outbox" in str(answer.content) and "is gone" in str(answer.content)


async def test_a_data_dir_that_was_replaced_is_not_written(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with house(tmp_path, configured(backend("one", sandbox))) as at:
        os.rename(at.settings.data_dir, tmp_path / "elsewhere")
        os.mkdir(at.settings.data_dir)
        answer = await at.api.post("/api/job", json={"workflow": CARD})
        assert answer.status_code == 503
        await until_closed(at, "was replaced by another folder")
        await assert_refused(at, "was replaced by another folder")
        assert os.listdir(at.settings.data_dir) == []
        os.rmdir(at.settings.data_dir)
        os.rename(tmp_path / "elsewhere", at.settings.data_dir)
        await until_open(at)
        assert (await at.ended(await at.submit()))["status"] == "completed"


async def test_too_little_free_space_stops_accepting_before_the_disk_is_full(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    right = configured(backend("one", sandbox))
    async with house(tmp_path, right) as at:
        write_config(tmp_path, right + "limits: {free_bytes: 1000TB}\n")
        await until_closed(at, "limits.free_bytes asks for 1,000,000,000 MB")
        await assert_refused(at, "Free some space")
        write_config(tmp_path, right)
        await until_open(at)
        assert (await at.ended(await at.submit()))["status"] == "completed"


async def test_a_database_that_cannot_grow_is_told_of_and_goes_on_when_it_can(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    async with house(tmp_path, configured(backend("one", sandbox))) as at:
        before = await at.ended(await at.submit())
        writer = at.store._database.writer
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        large = {**CARD, "9": {"class_type": "PreviewAny", "inputs": {"source": "x" * 300_000}}}

        async def refused_and_told() -> bool:
            """What is small may still find room on a page, and then the store counts as well again for a moment."""
            answer = await at.api.post("/api/job", json={"workflow": large})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30"), answer.text
            assert "Free space on its disk" in answer.text
            health = await at.health()
            return not health["accepting"] and any("is full" in problem for problem in health["problems"])

        await until(refused_and_told)
        assert (await at.job(before["job_id"]))["status"] == "completed"
        writer.execute("PRAGMA max_page_count = 1000000").fetchall()
        await until_open(at)
        assert (await at.api.post("/api/job", json={"workflow": large})).status_code == 202


async def test_an_outsider_who_locks_the_database_costs_a_wait_and_no_job(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    async with house(tmp_path, configured(backend("one", sandbox))) as at:
        await at.ended(await at.submit())
        path = at.settings.data_dir / "orchestrator.db"
        outsider = await anyio.open_process([sys.executable, "-c", LOCKING, str(path)], stderr=None)
        async with outsider:
            assert outsider.stdout is not None
            assert b"locked" in await outsider.stdout.receive()
            answers: list[int] = []

            async def post(number: int) -> None:
                body = {"workflow": CARD, "idempotency_key": f"key-{number}"}
                answer = await at.api.post("/api/job", json=body)
                answers.append(answer.status_code)
                assert "Another program holds it" in answer.text
                assert answer.headers["Retry-After"] == "5"

            with anyio.fail_after(25):  # all at once, not five seconds each
                async with anyio.create_task_group() as tasks:
                    for number in range(10):
                        tasks.start_soon(post, number)
            assert answers == [503] * 10
            assert not (await at.health())["accepting"]
            assert outsider.stdin is not None
            await outsider.stdin.aclose()
            await outsider.wait()
        await until_open(at)
        for number in range(10):
            body = {"workflow": CARD, "idempotency_key": f"key-{number}"}
            assert (await at.api.post("/api/job", json=body)).status_code == 202
        assert len((await at.api.get("/api/jobs?limit=100")).json()["jobs"]) == 11


LOCKING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def can_unshare() -> bool:
    """Whether a process may have file systems of its own here."""
    if sys.platform != "linux":
        return False
    try:
        done = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, timeout=10, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


SCENES = (
    "full_data_dir",
    "read_only_data_dir",
    "full_outbox",
    "unmounted_outbox",
    "tiny_log",
    "read_only_inbox",
    "unmounted_inbox",
)


@pytest.mark.skipif(not can_unshare(), reason="no file systems of one's own here (unshare -rm)")
@pytest.mark.parametrize("scene", SCENES)
async def test_with_file_systems_of_its_own(tmp_path: Path, scene: str) -> None:
    """Each scene is a program: only a process of its own can mount."""
    program = Path(__file__).with_name("mounted_scenes.py")
    root = Path(__file__).parents[2]
    command = ["unshare", "-rm", sys.executable, str(program), scene, str(tmp_path)]
    with anyio.fail_after(100):
        done = await anyio.run_process(command, cwd=root, check=False, env={**os.environ, "PYTHONPATH": str(root)})
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-4000:]
    assert b"done" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="asks for strace")
async def test_a_flush_that_fails_is_no_success_and_the_log_begins_anew(tmp_path: Path) -> None:
    """The disk fails once to flush a commit: its caller is told so, and what follows is safe on the disk."""
    program = Path(__file__).with_name("failing_flush.py")
    root = Path(__file__).parents[2]
    inject = "inject=fdatasync,fsync:error=EIO:when=40+40"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject]
    try:
        await anyio.run_process(["strace", "-V"])
    except OSError:
        pytest.skip("strace is not installed")
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [*command, sys.executable, str(program), str(tmp_path / "orchestrator.db")],
            cwd=root,
            check=False,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
    if b"ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-4000:]
    acknowledged, refused = (line.split() for line in done.stdout.decode().splitlines())
    assert len(refused) > 1, "no flush failed"
    connection = sqlite3.connect(tmp_path / "orchestrator.db")
    try:
        stored = {row[0] for row in connection.execute("SELECT uid FROM job")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
    assert set(acknowledged[1:]) <= stored
