"""Accept jobs one after the other, and print which were acknowledged and which refused."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from orchestrator_mcp.errors import StorageError
from tests.store.building import new_job, opened


async def main(path: Path) -> None:
    acknowledged, refused = [], []
    async with opened(path) as store:
        for _ in range(200):
            new = new_job()
            try:
                await store.accept(new)
            except StorageError:
                refused.append(new.job_id)
            else:
                acknowledged.append(new.job_id)
    sys.stdout.write(f"acknowledged {' '.join(acknowledged)}\nrefused {' '.join(refused)}\n")


anyio.run(main, Path(sys.argv[1]))
