"""config.yaml changes while the program runs: all of it holds, or none of it, and no render is lost."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.settings import load_settings
from tests.partners import SandboxFactory, text_to_image
from tests.world.house import CARD, House, backend, configured, house, until, write_config


async def until_backends(at: House, **wanted: str) -> None:
    """Wait until the farm is exactly these, each with this status."""

    async def as_wanted() -> bool:
        return {name: view["status"] for name, view in (await at.backends()).items()} == wanted

    await until(as_wanted)


async def until_problem(at: House, words: str | None) -> dict[str, Any]:
    """Wait until health tells a problem, or none any more."""

    async def told() -> bool:
        problems = (await at.health())["problems"]
        return not problems if words is None else any(words in problem for problem in problems)

    await until(told)
    return await at.health()


async def until_running(at: House, job_id: str) -> None:
    async def running() -> bool:
        return bool((await at.job(job_id))["stage"] == "rendering")

    await until(running)


async def test_an_added_backend_joins_and_renders(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    one, two = await sandboxes(), await sandboxes()
    async with house(tmp_path, configured(backend("one", one))) as at:
        await until_backends(at, one="idle")
        write_config(tmp_path, configured(backend("one", one), backend("two", two, "capabilities: [flux]")))
        await until_backends(at, one="idle", two="idle")
        job = await at.ended(await at.submit(required_capabilities=["flux"]))
    assert (job["status"], job["backend_id"]) == ("completed", "two")


async def test_a_removed_backend_ends_its_jobs_takes_no_more_and_goes(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    slow, other = await sandboxes(step_ms=400.0), await sandboxes()
    both = configured(backend("slow", slow), backend("other", other))
    async with house(tmp_path, both) as at:
        await until_backends(at, slow="idle", other="idle")
        rendering = await at.submit(text_to_image(steps=12), backend_affinity="slow")
        await until_running(at, rendering)
        pinned = await at.submit(backend_affinity="slow")
        write_config(tmp_path, configured(backend("other", other)))
        await until_backends(at, slow="draining", other="idle")
        assert (await at.job(rendering))["status"] == "running"
        ended = await at.ended(rendering)
        await until_backends(at, other="idle")
        assert (await at.job(pinned))["status"] == "queued"
    assert (ended["status"], ended["backend_id"], len(ended["attempts"])) == ("completed", "slow", 1)


async def test_a_backend_that_comes_back_before_it_went_just_goes_on(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    slow, other = await sandboxes(step_ms=400.0), await sandboxes()
    both = configured(backend("slow", slow), backend("other", other))
    async with house(tmp_path, both) as at:
        await until_backends(at, slow="idle", other="idle")
        rendering = await at.submit(text_to_image(steps=15), backend_affinity="slow")
        await until_running(at, rendering)
        write_config(tmp_path, configured(backend("other", other)))
        await until_backends(at, slow="draining", other="idle")
        write_config(tmp_path, both)
        await until_backends(at, slow="busy", other="idle")
        second = await at.submit(backend_affinity="slow")
        for job_id in (rendering, second):
            job = await at.ended(job_id)
            assert (job["status"], len(job["attempts"])) == ("completed", 1)


async def test_a_changed_backend_keeps_what_it_renders(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    server = await sandboxes(step_ms=400.0)
    async with house(tmp_path, configured(backend("one", server))) as at:
        await until_backends(at, one="idle")
        rendering = await at.submit(text_to_image(steps=8))
        await until_running(at, rendering)
        changes = "capabilities: [flux], name: Beast, max_concurrent_jobs: 2, headers: {X-Studio: secret-word}"
        write_config(tmp_path, configured(backend("one", server, changes), more=""))

        async def changed() -> bool:
            return bool((await at.backends())["one"]["name"] == "Beast")

        await until(changed)
        view = (await at.backends())["one"]
        assert (view["capabilities"], view["slots"], view["status"]) == (["flux"], 2, "busy")
        job = await at.ended(rendering)
        second = await at.ended(await at.submit(required_capabilities=["flux"]))
    assert (job["status"], len(job["attempts"]), second["status"]) == ("completed", 1, "completed")


async def test_a_backend_that_moved_ends_its_jobs_at_the_old_address(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    old, new = await sandboxes(step_ms=400.0), await sandboxes()
    async with house(tmp_path, configured(backend("one", old))) as at:
        await until_backends(at, one="idle")
        rendering = await at.submit(text_to_image(steps=8))
        await until_running(at, rendering)
        write_config(tmp_path, configured(backend("one", new)))

        async def moved() -> bool:
            return bool((await at.backends())["one"]["port"] == new.port)

        await until(moved)
        job = await at.ended(rendering)
        second = await at.ended(await at.submit())
    assert (job["status"], len(job["attempts"])) == ("completed", 1)
    assert second["status"] == "completed"


async def test_a_disabled_backend_ends_its_job_and_an_enabled_one_takes_jobs_again(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    server = await sandboxes(step_ms=300.0)
    async with house(tmp_path, configured(backend("one", server))) as at:
        await until_backends(at, one="idle")
        rendering = await at.submit(text_to_image(steps=8))
        await until_running(at, rendering)
        write_config(tmp_path, configured(backend("one", server, "enabled: false")))
        await until_backends(at, one="disabled")
        assert (await at.ended(rendering))["status"] == "completed"
        waiting = await at.submit()
        write_config(tmp_path, configured(backend("one", server)))
        assert (await at.ended(waiting))["status"] == "completed"


WRONG = {
    "not YAML": "backends: [",
    "an unknown key": "limts: {queued_jobs: 1}",
    "two backends of one name": "backends: [{id: a, host: h}, {id: A, host: i}]",
    "a wrong port": "backends: [{id: a, host: h, port: eighty}]",
    "a number for a list": "backends: 7",
    "two keys of one name": "limits: {queued_jobs: 1}\nlimits: {queued_jobs: 2}",
    "nothing but bytes": "\x00\x01",
}


async def test_limits_and_who_may_queue_how_much_change_with_the_file(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    entry = backend("one", await sandboxes())
    limits = 'limits: [{name: held, most: 0, workflow: "held*"}]'
    async with house(tmp_path, configured(entry, more=f"scheduling: {{probe_interval: 50ms, {limits}}}\n")) as at:
        await until_backends(at, one="idle")
        job_id = await at.submit(workflow_id="held_back")
        assert (await at.ended(await at.submit(workflow_id="free")))["status"] == "completed"
        assert (await at.job(job_id))["status"] == "queued"
        write_config(tmp_path, configured(entry, more="scheduling: {probe_interval: 50ms, max_queued: 1}\n"))
        assert (await at.ended(job_id))["status"] == "completed"
        waits = {"workflow": CARD, "required_capabilities": ["none"]}
        first = await at.api.post("/api/job", json=waits)
        second = await at.api.post("/api/job", json=waits)
        assert (first.status_code, second.status_code) == (202, 429)
        assert "scheduling.max_queued is 1" in second.text


async def test_who_lowers_what_is_kept_need_not_wait_for_the_next_round(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    entry = backend("one", await sandboxes())
    async with house(tmp_path, configured(entry)) as at:
        job_ids = [await at.submit() for _ in range(3)]
        for job_id in job_ids:
            assert (await at.ended(job_id))["status"] == "completed"
        write_config(tmp_path, configured(entry) + "retention: {jobs: 1}\n")

        async def newest_alone() -> bool:
            return [job["job_id"] for job in (await at.api.get("/api/jobs")).json()["jobs"]] == job_ids[-1:]

        await until(newest_alone)


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_file_changes_nothing_and_stands_in_health_until_it_is_mended(
    tmp_path: Path, sandboxes: SandboxFactory, kind: str
) -> None:
    server = await sandboxes()
    right = configured(backend("one", server))
    async with house(tmp_path, right) as at:
        await until_backends(at, one="idle")
        path = write_config(tmp_path, WRONG[kind])
        with pytest.raises(SettingsError) as at_the_start:
            load_settings(path, environ={})
        kept = "The changed configuration is not taken, and the one before still holds. "
        health = await until_problem(at, kept + str(at_the_start.value))
        assert (health["status"], health["accepting"]) == ("degraded", True)
        await until_backends(at, one="idle")
        assert (await at.ended(await at.submit()))["status"] == "completed"
        write_config(tmp_path, right)
        assert (await until_problem(at, None))["status"] == "ok"


async def test_a_file_that_is_gone_is_told_of_and_the_settings_stay(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    server = await sandboxes()
    right = configured(backend("one", server))
    async with house(tmp_path, right) as at:
        os.unlink(tmp_path / "config.yaml")
        await until_problem(at, "there is no such file")
        await until_backends(at, one="idle")
        write_config(tmp_path, right)
        await until_problem(at, None)


async def test_what_only_a_restart_can_change_is_told_and_the_rest_holds(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    server = await sandboxes()
    async with house(tmp_path, configured(backend("one", server))) as at:
        later = configured(backend("one", server)).replace("{port: 0}", "{port: 4711}")
        write_config(tmp_path, f"{later}\ndata_dir: elsewhere\nlimits: {{queued_jobs: 1, body_bytes: 1000}}\n")

        async def told() -> bool:
            return bool((await at.health())["notices"])

        await until(told)
        health = await at.health()
        assert health["notices"] == [
            "The configuration was changed; a restart is needed for data_dir, server.port, limits.body_bytes."
        ]
        assert (health["status"], health["problems"]) == ("ok", [])
        assert not (tmp_path / "elsewhere").exists()
        for number in range(2):
            answer = await at.api.post(
                "/api/job", json={"workflow": text_to_image(), "required_capabilities": [f"none-{number}"]}
            )
        assert (answer.status_code, "limits.queued_jobs is 1" in answer.text) == (429, True)


async def test_the_built_in_sandbox_gives_way_to_real_backends_and_does_not_come_back(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    server = await sandboxes()
    async with house(tmp_path, configured()) as at:
        await until_backends(at, sandbox="idle")
        write_config(tmp_path, configured(more="limits: {queued_jobs: 1}\n"))

        async def limited() -> bool:
            waits = {"workflow": CARD, "backend_affinity": "sandbox", "required_capabilities": ["none"]}
            return (await at.api.post("/api/job", json=waits)).status_code == 429

        await until(limited)
        await until_backends(at, sandbox="idle")
        write_config(tmp_path, configured(backend("one", server)))
        await until_backends(at, one="idle")
        write_config(tmp_path, configured())
        await until_backends(at)
        for job in (await at.api.get("/api/jobs")).json()["jobs"]:
            assert job["status"] == "queued"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
async def test_a_hangup_signal_reads_the_file_again_and_the_program_lives(tmp_path: Path) -> None:
    write_config(tmp_path, "server: {port: 0}\n")
    command = [sys.executable, "-m", "orchestrator_mcp.server", "--config", str(tmp_path / "config.yaml")]
    with anyio.fail_after(60):
        async with await anyio.open_process(command, stdin=None, stdout=None) as program:
            assert program.stderr is not None
            said, sent = b"", False
            async for piece in program.stderr:
                said += piece
                if b"is ready" in said and not sent:
                    sent = True
                    program.send_signal(signal.SIGHUP)
                if b"reading" in said:
                    program.send_signal(signal.SIGTERM)
                    break
            async for piece in program.stderr:
                said += piece
            assert await program.wait() == 0
    assert b"Traceback" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals here")
async def test_closing_the_terminal_stops_the_program_instead(tmp_path: Path) -> None:
    write_config(tmp_path, "server: {port: 0}\n")
    serving = [sys.executable, "-m", "orchestrator_mcp.server", "--config", str(tmp_path / "config.yaml")]
    with anyio.fail_after(60):
        done = await anyio.run_process([sys.executable, "-c", IN_A_TERMINAL, *serving])
    assert done.stdout == b"0\n"
    log = (tmp_path / "logs" / "orchestrator.log").read_text("utf-8")
    assert "received SIGTERM" in log
    assert "Traceback" not in log


IN_A_TERMINAL = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
while b"is ready" not in said:
    said += os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
