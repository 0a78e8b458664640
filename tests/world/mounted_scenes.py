"""Scenes with small file systems of their own; run as a program under `unshare -rm`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from orchestrator_mcp.logs import configure_logging
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.world.house import House, backend, configured, house, until
from tests.world.test_disks import LITTLE, assert_refused, until_closed, until_open


def run_now(command: list[str]) -> None:
    """Run a short command to its end."""
    subprocess.run(command, check=True)


def mount(folder: Path, size: str) -> None:
    """Put an empty file system of that size there."""
    folder.mkdir(parents=True, exist_ok=True)
    run_now(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)])


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
    except OSError:
        return filler


async def finishes(at: House) -> None:
    job = await at.ended(await at.submit())
    assert job["status"] == "completed", job


async def full_data_dir(folder: Path, run: Callable[[], Awaitable[House]]) -> None:
    mount(folder / "data", "100m")
    at = await run()
    await finishes(at)
    filler = fill(folder / "data")
    answer = await at.api.post("/api/job", json={"workflow_id": "model_free_card"})
    assert answer.status_code == 503, answer.text
    await until_closed(at, "free")
    await assert_refused(at, "Free some space")
    filler.unlink()
    await until_open(at)
    await finishes(at)


async def read_only_data_dir(folder: Path, run: Callable[[], Awaitable[House]]) -> None:
    mount(folder / "data", "100m")
    at = await run()
    await finishes(at)
    # a file system with files that are open for writing refuses to become read-only, a bind mount over it does not
    run_now(["mount", "--bind", str(folder / "data"), str(folder / "data")])
    run_now(["mount", "-o", "remount,bind,ro", str(folder / "data")])
    await until_closed(at, "read-only")
    await assert_refused(at, "read-only")
    run_now(["umount", str(folder / "data")])
    await until_open(at)
    await finishes(at)


async def full_outbox(folder: Path, run: Callable[[], Awaitable[House]]) -> None:
    mount(folder / "Outbox", "40m")
    at = await run()
    await finishes(at)
    job_id = await at.submit({**STEPS})
    filler = fill(folder / "Outbox")
    job = await at.ended(job_id)
    assert job["status"] == "completed"
    await until_closed(at, "Outbox")
    await assert_refused(at, "Outbox")
    assert all(output["path"] is None for output in (await at.job(job_id))["outputs"])
    assert (await at.api.get((await at.job(job_id))["outputs"][0]["url"])).status_code == 200
    filler.unlink()
    await until_open(at)

    async def delivered() -> bool:
        return len(list((folder / "Outbox").glob("*/result.json"))) == 2

    await until(delivered, 40)


async def unmounted_outbox(folder: Path, run: Callable[[], Awaitable[House]]) -> None:
    (folder / "Outbox").mkdir()
    (folder / "share").mkdir()
    run_now(["mount", "--bind", str(folder / "share"), str(folder / "Outbox")])
    mount(folder / "Outbox", "100m")
    at = await run()
    await finishes(at)
    run_now(["umount", "-l", str(folder / "Outbox")])
    run_now(["umount", "-l", str(folder / "Outbox")])
    # what is taken in and finished before anybody has looked is not written beneath the mount point either
    await at.api.post("/api/job", json={"workflow_id": "model_free_card"})
    await until_closed(at, "no longer mounted")
    await assert_refused(at, "Mount it again")
    assert not any((folder / "Outbox").iterdir())
    mount(folder / "Outbox", "100m")
    await until_open(at)
    await finishes(at)


async def read_only_inbox(folder: Path, run: Callable[[], Awaitable[House]]) -> None:
    beneath = folder / "share"
    mount(beneath, "10m")
    (folder / "Inbox").mkdir()
    run_now(["mount", "--bind", str(beneath), str(folder / "Inbox")])
    at = await run()
    at.drop("before.json")
    await until_processed(folder, "before.json")
    run_now(["mount", "-o", "remount,bind,ro", str(folder / "Inbox")])
    (beneath / "during.json").write_bytes((beneath / "processed" / "before.json").read_bytes() + b" ")
    await finishes(at)  # the other doors go on

    async def told() -> bool:
        return any("during.json" in problem for problem in (await at.health())["problems"])

    await until(told, 40)
    run_now(["mount", "-o", "remount,bind,rw", str(folder / "Inbox")])
    await until_processed(folder, "during.json")
    await until_open(at)


async def unmounted_inbox(folder: Path, run: Callable[[], Awaitable[House]]) -> None:
    (folder / "share").mkdir()
    (folder / "Inbox").mkdir()
    run_now(["mount", "--bind", str(folder / "share"), str(folder / "Inbox")])
    at = await run()
    at.drop("before.json")
    await until_processed(folder, "before.json")
    run_now(["umount", "-l", str(folder / "Inbox")])
    await finishes(at)
    run_now(["mount", "--bind", str(folder / "share"), str(folder / "Inbox")])
    at.drop("after.json")
    await until_processed(folder, "after.json")
    await until_open(at)


async def until_processed(folder: Path, name: str) -> None:
    async def processed() -> bool:
        return (folder / "Inbox" / "processed" / name).is_file()

    await until(processed, 40)


async def tiny_log(folder: Path, run: Callable[[], Awaitable[House]]) -> None:
    mount(folder / "logs", "64k")
    with configure_logging(folder / "logs", "debug", console=False):
        at = await run()
        await until_closed(at, "log dir")
        await assert_refused(at, "log dir")
        assert (await at.health())["backends_online"] == 1


STEPS = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512, "batch_size": 4, "color": 77}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}
SCENES = (full_data_dir, read_only_data_dir, full_outbox, unmounted_outbox, tiny_log, read_only_inbox, unmounted_inbox)


async def main(name: str, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Sandbox(SandboxOptions(step_ms=1.0)).serve())

        async def run() -> House:
            text = configured(backend("one", server)) + LITTLE
            return await stack.enter_async_context(house(folder, text))

        await {scene.__name__: scene for scene in SCENES}[name](folder, run)
    sys.stdout.write("done\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
