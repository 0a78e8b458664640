"""What is under way when the orchestrator is stopped in an orderly manner."""

from __future__ import annotations

from pathlib import Path

import anyio

from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.assets.samples import BEGIN, png
from tests.scheduler.core import backend_for, core, quick, rendered

FAST = SandboxOptions(step_ms=1, load_ms=0)
A_DAY = quick(quarantine=3600.0)
"""Who has to ask what became of a prompt does not get an answer in time."""


async def test_a_job_that_was_claimed_and_never_sent_is_sent_at_once_after_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "plate.png").write_bytes(png())
    claimed = anyio.Event()
    async with Sandbox(FAST).serve() as server:

        def hold(step: Step) -> None:
            if step is Step.INTENT:
                server.set_fault("slow-http:600000")  # its picture is not taken, so it is not sent
                claimed.set()

        async with core(tmp_path, [backend_for(server, "one")], A_DAY, roots=[tmp_path], at_step=hold) as running:
            job_id = await running.submit(BEGIN, parameters={"image": "plate.png"})
            with anyio.fail_after(running.patience):
                await claimed.wait()
        server.clear_faults()
        async with core(tmp_path, [backend_for(server, "one")], A_DAY, roots=[tmp_path]) as running:
            job = await running.end_of(job_id)
    assert job.status == "completed"
    assert [(attempt.outcome, attempt.reason) for attempt in job.attempts] == [
        ("revoked", "taken back before it was sent"),
        ("succeeded", "rendered by one"),
    ]
    assert rendered(server)[job_id] == 1
