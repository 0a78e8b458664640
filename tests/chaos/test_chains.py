"""The process dies between the end of a parent and the beginning of its child; the chain goes on in the next life."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest

from orchestrator_mcp.domain.steps import Step
from tests.chains.graphs import INVERTED
from tests.chaos.ground import ground
from tests.chaos.life import life
from tests.partners import text_to_image

pytestmark = pytest.mark.chaos


async def hand_in(url: str) -> tuple[str, str]:
    """Submit a parent on one backend, and a child of it on the other."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as api:
        first = {"workflow": text_to_image(steps=30, width=64, height=64), "backend_affinity": "b0"}
        parent = str((await api.post("/api/job", json=first)).json()["job_id"])
        second = {"workflow": INVERTED, "backend_affinity": "b1", "parameters": {"image": f"job:{parent}"}}
        answer = await api.post("/api/job", json=second)
        assert answer.status_code == 202, answer.text
        return parent, str(answer.json()["job_id"])


@pytest.mark.parametrize(
    ("step", "nth"),
    [(Step.RENDERED, 1), (Step.FETCHED, 1), (Step.PUBLISHING, 1), (Step.PUBLISHED, 1), (Step.INTENT, 2)],
    ids=str,
)
async def test_a_chain_survives_a_death_between_its_jobs(tmp_path: Path, step: Step, nth: int) -> None:
    async with ground(tmp_path, servers=2) as stand:
        async with life(stand.config, crash_at=step, nth=nth) as first:
            assert await first.opened()
            parent, child = await hand_in(first.url)
            with anyio.fail_after(30):
                assert await first.ended() < 0
        states = {row["uid"]: row["state"] for row in stand.rows("SELECT uid, state FROM job")}
        assert states[parent] == (3 if step in (Step.PUBLISHING, Step.PUBLISHED, Step.INTENT) else 1)
        assert states[child] == {Step.PUBLISHING: 0, Step.PUBLISHED: 0, Step.INTENT: 1}.get(step, 2)
        async with life(stand.config) as second:
            assert await second.opened()
            with anyio.fail_after(30):
                await stand.until_all_delivered(2)
            assert await second.stop() == 0
        rows = stand.rows("SELECT uid, state, pending FROM job ORDER BY id")
        assert [(row["uid"], row["state"], row["pending"]) for row in rows] == [(parent, 3, 0), (child, 3, 0)]
        assert stand.rows("SELECT count(*) FROM dependency")[0][0] == 0
        [handed_over] = stand.rows("SELECT sha256 FROM job_asset")
        assert handed_over["sha256"] in [row["sha256"] for row in stand.rows("SELECT sha256 FROM artifact")]
        accepted = [note["prompt_id"] for note in stand.oracle() if note["event"] == "accepted"]
        assert len(accepted) == len(set(accepted)) == 2
