"""Chains and reruns beside batches, dry runs and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.chains.graphs import CARD, INVERTED
from tests.partners import SandboxFactory, text_to_image
from tests.security.guarded import guarded
from tests.world.house import House, backend, configured, house


async def batch_of(farm: House, **manifest: Any) -> list[dict[str, Any]]:
    """Hand a batch in, and wait for the end of all its jobs."""
    answer = await farm.api.post("/api/job", json=manifest)
    assert answer.status_code == 202, answer.text
    return [await farm.ended(job_id) for job_id in answer.json()["job_ids"]]


async def test_every_job_of_a_batch_waits_for_the_parent(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(step_ms=50)))) as farm:
        parent = await farm.submit(text_to_image())
        jobs = await batch_of(
            farm, workflow=INVERTED, parameters={"image": f"job:{parent}"}, batch={"filename_prefix": ["a", "b", "c"]}
        )
        assert [job["status"] for job in jobs] == ["completed"] * 3
        assert [job["depends_on"] for job in jobs] == [[parent]] * 3
        assert len({job["inputs"][0]["sha256"] for job in jobs}) == 1


async def test_a_failed_parent_ends_a_whole_batch(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(step_ms=400)))) as farm:
        parent = await farm.submit(text_to_image())
        answer = await farm.api.post(
            "/api/job", json={"workflow": CARD, "depends_on": [parent], "batch": {"width": [32, 64]}}
        )
        assert answer.status_code == 202, answer.text
        await farm.api.delete(f"/api/job/{parent}")
        jobs = [await farm.ended(job_id) for job_id in answer.json()["job_ids"]]
        assert [job["error"]["code"] for job in jobs] == ["parent_cancelled"] * 2
        batch = (await farm.api.get(f"/api/batch/{answer.json()['batch_id']}")).json()
        assert (batch["status"], batch["counts"]["failed"]) == ("failed", 2)


async def test_a_job_is_done_again_with_many_seeds(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(text_to_image(), parameters={"seed": 1, "prompt": "a red fox"})
        jobs = await batch_of(farm, rerun_of=first, parameters={"steps": 2}, batch={"seed": [5, 6, 7]})
        assert [job["seeds"] for job in jobs] == [{"3.seed": seed} for seed in (5, 6, 7)]
        assert all(job["rerun_of"] == first for job in jobs)
        assert all(job["parameters"]["prompt"] == "a red fox" for job in jobs)
        assert all(job["parameters"]["steps"] == 2 for job in jobs)


async def test_a_dry_run_shows_a_chain_and_a_rerun_without_queueing_them(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(step_ms=200)))) as farm:
        parent = await farm.submit(text_to_image(), parameters={"seed": 3})
        for manifest in (
            {"workflow": INVERTED, "parameters": {"image": f"job:{parent}"}},
            {"rerun_of": parent, "parameters": {"steps": 2}},
        ):
            answer = await farm.api.post("/api/job?dry_run=1", json=manifest)
            assert answer.status_code == 200, answer.text
            assert [one["can_run"] for one in answer.json()["backends"]] == [True], answer.text
        assert len((await farm.api.get("/api/jobs")).json()["jobs"]) == 1


async def test_a_job_with_somebody_elses_secret_is_not_done_again_with_changes(tmp_path: Path) -> None:
    secret = {
        **CARD,
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0], "api_key": "sk-0123456789abcdef"}},
    }
    async with guarded(tmp_path) as farm:
        async with farm.client("alice") as alice:
            plain = (await alice.post("/api/job", json={"workflow": CARD})).json()["job_id"]
            kept = (await alice.post("/api/job", json={"workflow": secret})).json()["job_id"]
        async with farm.client("bob") as bob:
            assert (await bob.post(f"/api/job/{plain}/rerun")).status_code == 202
            refused = await bob.post(f"/api/job/{kept}/rerun")
            assert refused.status_code == 403
            assert "sk-0123" not in refused.text
        for name in ("alice", "boss"):
            async with farm.client(name) as owner:
                assert (await owner.post(f"/api/job/{kept}/rerun")).status_code == 202
        async with farm.client("viewer") as viewer:
            assert (await viewer.post(f"/api/job/{plain}/rerun")).status_code == 403
