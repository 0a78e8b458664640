"""Many files in the Inbox at once: `python -m tests.world.many_files --files 10000` prints how long it takes."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

import anyio

from orchestrator_mcp.logs import configure_logging
from tests.world.house import CARD, House, house, until


def drop_many(inbox: Path, count: int) -> None:
    """Put manifests there that are accepted and wait for a backend that does not exist."""
    for number in range(count):
        document = {"workflow_json": CARD, "required_capabilities": ["none"], "metadata": {"n": number}}
        hidden = inbox / f".{number}.tmp"
        hidden.write_text(json.dumps(document), encoding="utf-8")
        os.rename(hidden, inbox / f"shot-{number:05}.json")


async def until_accepted(at: House, count: int) -> None:
    """Wait until so many jobs wait, and each manifest lies among the accepted."""

    async def accepted() -> bool:
        if (await at.health())["jobs_queued"] != count:
            return False
        return len(os.listdir(at.settings.inbox_dir / ".orch" / "accepted")) == count

    await until(accepted, 60)


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, configure_logging(Path(folder) / "logs", "info", console=False):
        await measure(Path(folder), count)


async def measure(folder: Path, count: int) -> None:
    """Drop them, wait, and print the figures."""
    async with house(folder) as at:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = anyio.current_time()
        drop_many(at.settings.inbox_dir, count)
        dropped = anyio.current_time()
        await until_accepted(at, count)
        took, grown = anyio.current_time() - dropped, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        sys.stdout.write(
            f"{count} files: written in {dropped - began:.1f} s, all accepted {took:.1f} s later, "
            f"memory grew by {grown / 1024:.0f} MiB at most\n"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    anyio.run(main, parser.parse_args().files)
