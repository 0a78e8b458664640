"""A source that has as many jobs waiting as it may is told so at every door; others go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.doors.three_doors import LOOK, InboxWay, Refusal, house

WAITS: dict[str, Any] = {
    "workflow_id": "my_workflow_001",
    "parameters": {"prompt": "cinematic shot", "width": 64, "height": 64, "steps": 1},
    "required_capabilities": ["nobody-has-this"],
}
TOLD = "scheduling.max_queued is 2"


def of(source: str, **fields: Any) -> dict[str, Any]:
    return {**WAITS, "metadata": {"source": source}, **fields}


@pytest.mark.parametrize("door", ["http", "mcp"])
async def test_one_job_too_many_is_refused_in_words_and_a_batch_counts_whole(tmp_path: Path, door: str) -> None:
    async with house(tmp_path, "scheduling: {max_queued: 2}\n") as studio:
        way = studio.ways[door]
        assert isinstance(await way.hand_in(of("alice")), str)
        batch = await way.hand_in(of("alice", batch={"seed": [1, 2]}))
        assert isinstance(batch, Refusal)
        assert "no room for 2 more jobs of the source" in batch.words and "alice" in batch.words and TOLD in batch.words
        assert isinstance(await way.hand_in(of("alice")), str)
        refused = await way.hand_in(of("alice"))
        assert isinstance(refused, Refusal) and TOLD in refused.words
        assert isinstance(await way.hand_in(of("bob")), str)


@pytest.mark.parametrize("door", ["http", "mcp", "inbox"])
async def test_a_batch_that_would_never_find_room_is_refused_for_good(tmp_path: Path, door: str) -> None:
    async with house(tmp_path, "scheduling: {max_queued: 2}\n") as studio:
        refused = await studio.ways[door].hand_in(of("alice", batch={"seed": [1, 2, 3]}))
        assert isinstance(refused, Refusal)
        assert "never has room for 3 jobs" in refused.words and TOLD in refused.words


async def test_in_the_inbox_one_source_waits_alone_and_its_file_is_taken_when_there_is_room(tmp_path: Path) -> None:
    async with house(tmp_path, "scheduling: {max_queued: 1}\n") as studio:
        inbox = studio.ways["inbox"]
        assert isinstance(inbox, InboxWay)
        first = await inbox.hand_in(of("alice"), stem="one")
        waits = tmp_path / "Inbox" / "two.json"
        waits.write_text(json.dumps(of("alice")), encoding="utf-8")
        await studio.until(lambda: not waits.exists())
        assert isinstance(await inbox.hand_in(of("bob"), stem="three"), str)

        assert (await studio.http.delete(f"/api/job/{first}")).status_code == 202
        while len((await studio.http.get("/api/jobs")).json()["jobs"]) < 3:  # noqa: ASYNC110 - over HTTP
            await anyio.sleep(LOOK)
