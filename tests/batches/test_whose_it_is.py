"""Who may end a batch, or begin it again; and how much one caller may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.security.guarded import PICTURE, Guarded, guarded


@pytest.fixture
async def farm(tmp_path: Path) -> AsyncIterator[Guarded]:
    """An orchestrator that asks for tokens."""
    async with guarded(tmp_path) as running:
        yield running


async def submitted(client: httpx.AsyncClient) -> str:
    """A batch that waits for a backend that does not exist."""
    body = {"workflow": PICTURE, "required_capabilities": ["nobody-has-this"], "batch": {"1.color": [1, 2]}}
    answer = await client.post("/api/job", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["batch_id"])


async def test_everybody_sees_a_batch_and_only_its_owner_or_an_admin_ends_it_or_begins_it_again(farm: Guarded) -> None:
    async with (
        farm.client("alice") as alice,
        farm.client("bob") as bob,
        farm.client("viewer") as viewer,
        farm.client("boss") as boss,
    ):
        batch_id = await submitted(alice)
        path = f"/api/batch/{batch_id}"
        for client in (alice, bob, viewer, boss):
            assert (await client.get(path)).json()["counts"]["queued"] == 2
            assert len((await client.get("/api/batches")).json()["batches"]) == 1
        for refused in (await bob.delete(path), await bob.post(f"{path}/retry")):
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
            assert "alice" in refused.json()["detail"]
        for refused in (await viewer.delete(path), await viewer.post(f"{path}/retry")):
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        assert (await viewer.get(path)).json()["counts"]["queued"] == 2
        assert (await alice.delete(path)).json()["status"] == "cancelled"
        assert (await alice.post(f"{path}/retry")).json()["count"] == 2
        assert (await boss.delete(path)).json()["status"] == "cancelled"
        assert (await boss.post(f"{path}/retry")).status_code == 202


async def test_a_batch_counts_as_one_submission(tmp_path: Path) -> None:
    limits = "limits: {submits_per_second: 0.001, submit_burst: 2}\n"
    async with guarded(tmp_path, limits) as farm, farm.client("alice") as alice:
        await submitted(alice)
        await submitted(alice)
        body = {"workflow": PICTURE, "batch": {"1.color": [1, 2]}}
        refused = await alice.post("/api/job", json=body)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
