"""Manifests that are handed in together: each has its own answer, and one that is wrong takes no other with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator_mcp.domain.access import LOCAL
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import AcceptedView
from orchestrator_mcp.errors import IdempotencyConflict, ManifestError, NotFoundError
from orchestrator_mcp.service import Submission
from tests.scheduler.core import PICTURE, core


def wish(**fields: Any) -> Submission:
    return Submission(manifest=Manifest.model_validate(fields), door=Door.INBOX, by=LOCAL)


async def test_each_has_its_answer_in_its_place(tmp_path: Path) -> None:
    async with core(tmp_path, []) as running:
        answers = await running.service.submit_each(
            [
                wish(workflow=PICTURE, parameters={"1.color": 1}, idempotency_key="one"),
                wish(workflow=PICTURE, parameters={"1.colour": 2}),
                wish(workflow_id="nobody_knows_it"),
                wish(workflow=PICTURE, parameters={"1.color": 3}, idempotency_key="one"),
                wish(workflow=PICTURE, parameters={"1.color": 4}),
            ]
        )
        listed = await running.service.jobs()
    kinds = [AcceptedView, ManifestError, NotFoundError, IdempotencyConflict, AcceptedView]
    assert [type(answer) for answer in answers] == kinds
    stored = {job.job_id: job.parameters for job in listed.jobs}
    accepted = [answer.job_id for answer in answers if isinstance(answer, AcceptedView)]
    assert [stored[job_id] for job_id in accepted] == [{"1.color": 1}, {"1.color": 4}]
    assert len(stored) == 2


async def test_none_is_no_work(tmp_path: Path) -> None:
    async with core(tmp_path, []) as running:
        assert await running.service.submit_each([]) == []
