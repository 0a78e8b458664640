"""A file that lies in one backend's own input folder leads the job there at once."""

from __future__ import annotations

from pathlib import Path

import anyio
from PIL import Image

from tests.partners import SandboxFactory, sandboxes
from tests.preflight.farm import named, until_known
from tests.scheduler.core import PICTURE, core

__all__ = ["sandboxes"]

PLATE = {**PICTURE, "1": {"class_type": "LoadImage", "inputs": {"image": "plate.png"}}}


async def test_a_job_goes_at_once_to_the_only_backend_that_has_its_picture(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    (tmp_path / "c" / "input").mkdir(parents=True)
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "c" / "input" / "plate.png")
    servers = {"a": await sandboxes(), "b": await sandboxes(), "c": await sandboxes(folder=tmp_path / "c")}
    async with core(tmp_path, named(servers)) as running:
        await until_known(running)
        with anyio.fail_after(running.patience):
            job = await running.end_of(await running.submit(PLATE))
            assert (job.status, job.backend_id, len(job.attempts)) == ("completed", "c", 1)
