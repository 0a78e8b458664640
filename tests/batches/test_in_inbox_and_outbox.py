"""Batches as files: a manifest in the Inbox, a folder of its own in Outbox."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.deliveries import BatchDelivery, BatchLine, DeliveredName, InboxClaim
from tests.partners import SandboxFactory, picture_graph
from tests.watcher.recording import RecordingService, delivering, names_in
from tests.watcher.recording import until as until_true
from tests.world.house import House, backend, configured, house, until
from watcher.batch_results import BatchContent
from watcher.claims import ClaimFolder, new_claim_id
from watcher.results import ResultFolder

BATCH_ID = "batch-0196f0a0-0000-7000-8000-0000abcd0123"
COLOURS = {"1.color": [0xFF0000, 0x00FF00, 0x0000FF]}


def finished(
    counts: dict[str, int] | None = None, *, retries: int = 0, claim: InboxClaim | None = None
) -> BatchDelivery:
    """An ended batch of two jobs."""
    tally = {"queued": 0, "running": 0, "completed": 1, "failed": 1, "cancelled": 0} | (counts or {})
    view = BatchView(
        batch_id=BATCH_ID,
        status="failed",
        count=2,
        counts=tally,
        progress=1.0,
        workflow_id="shot",
        varies=["seed"],
        mode="product",
        submitted_at=SystemClock().now(),
        retries=retries,
    )
    done = BatchLine(
        job_id="a",
        parameters={"seed": 1},
        seeds={"3.seed": 1},
        status="completed",
        error=None,
        folder="shot__0000000a",
        files=(DeliveredName(name="shot.png", size=3, sha256="ab" * 32),),
    )
    broken = BatchLine(
        job_id="b",
        parameters={"seed": 2},
        seeds={},
        status="failed",
        error="it broke",
        folder="shot__0000000b",
        files=(),
    )
    return BatchDelivery(batch=view, stem="shot 010", to_outbox=True, sheet=b"png", lines=(done, broken), claim=claim)


@pytest.fixture
async def farm(tmp_path: Path, sandboxes: SandboxFactory) -> AsyncIterator[House]:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as running:
        yield running


def folders_of(running: House, stem: str) -> list[Path]:
    return sorted(path for path in running.settings.outbox_dir.iterdir() if path.name.startswith(f"{stem}__"))


async def result_of_batch(running: House, stem: str, how_many: int = 1) -> dict[str, Any]:
    """Wait for the folder of a batch, and read its result."""

    def found() -> list[dict[str, Any]]:
        written = [json.loads((path / "result.json").read_text("utf-8")) for path in folders_of(running, stem)]
        return [one for one in written if one["schema"] == "orchestrator-batch/1"]

    async def there() -> bool:
        return len(found()) == how_many

    await until(there, 40)
    return max(found(), key=lambda one: int(one["retries"]))


async def test_a_dropped_batch_is_rendered_and_its_folder_tells_of_every_job(farm: House) -> None:
    document = {"workflow_json": picture_graph(), "workflow_id": "card", "batch": COLOURS}
    farm.drop("shot 010.json", json.dumps(document).encode())
    result = await result_of_batch(farm, "shot_010")
    assert (result["status"], result["stem"], result["varies"]) == ("completed", "shot 010", ["1.color"])
    folder = Path(result["path"])
    assert names_in(folder) == ["contact-sheet.png", "result.json"]
    assert Image.open(io.BytesIO((folder / "contact-sheet.png").read_bytes())).format == "PNG"
    assert [line["parameters"]["1.color"] for line in result["jobs"]] == COLOURS["1.color"]
    for line in result["jobs"]:
        [file] = line["files"]
        content = (farm.settings.outbox_dir / line["folder"] / file["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])
        assert (line["status"], line["error"]) == ("completed", None)

    async def put_away() -> bool:
        return names_in(farm.settings.inbox_dir / "processed") == ["shot 010.json"]

    async def recorded() -> bool:
        view = (await farm.api.get(f"/api/batch/{result['batch_id']}")).json()
        return bool(view["path"] == result["path"])

    await until(put_away)
    await until(recorded)


async def test_jobs_of_a_dropped_batch_are_delivered_where_only_what_was_dropped_is(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    text = "outbox: inbox\n" + configured(backend("one", await sandboxes()))
    async with house(tmp_path, text) as farm:
        other = await farm.submit(picture_graph())
        document = {"workflow_json": picture_graph(), "batch": COLOURS}
        farm.drop("shot.json", json.dumps(document).encode())
        result = await result_of_batch(farm, "shot")
        await farm.ended(other)
        assert sorted(line["folder"] for line in result["jobs"]) == sorted(
            path.name for path in folders_of(farm, "shot") if path != Path(result["path"])
        )
        assert folders_of(farm, "workflow") == []


async def test_a_batch_of_which_no_backend_can_do_one_job_is_refused_with_the_reason(farm: House) -> None:
    document = {"workflow_json": picture_graph(), "batch": {"1.width": [32, 64, 10_000_000_000]}}
    farm.drop("wide.json", json.dumps(document).encode())

    async def put_away() -> bool:
        return names_in(farm.settings.inbox_dir / "failed") == ["wide.json", "wide.json.error.json"]

    await until(put_away)
    told = json.loads((farm.settings.inbox_dir / "failed" / "wide.json.error.json").read_text("utf-8"))
    assert "width is 10000000000" in told["message"]
    assert (await farm.api.get("/api/batches")).json()["batches"] == []


async def test_a_retry_is_delivered_beside_the_first_result(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    sandbox = await sandboxes(faults=("runtime-error",))
    async with house(tmp_path, configured(backend("one", sandbox))) as farm:
        answer = await farm.api.post(
            "/api/job", json={"workflow": picture_graph(), "workflow_id": "card", "batch": COLOURS}
        )
        first = await result_of_batch(farm, "card")
        assert (first["status"], first["contact_sheet"]) == ("failed", None)
        assert all("RuntimeError" in line["error"] for line in first["jobs"])
        sandbox.clear_faults()
        assert (await farm.api.post(f"/api/batch/{answer.json()['batch_id']}/retry")).status_code == 202
        second = await result_of_batch(farm, "card", 2)
        assert (second["status"], second["retries"], second["contact_sheet"]) == ("completed", 1, "contact-sheet.png")
        assert Path(second["path"]) != Path(first["path"])


async def test_a_batch_whose_process_died_before_the_delivery_is_delivered_once(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    text = configured(backend("one", await sandboxes(step_ms=20)))
    async with house(tmp_path, text) as farm:
        await farm.api.post("/api/job", json={"workflow": picture_graph(), "workflow_id": "card", "batch": COLOURS})
    async with house(tmp_path, text) as farm:
        result = await result_of_batch(farm, "card")
    async with house(tmp_path, text) as farm:
        assert (await result_of_batch(farm, "card")) == result
        assert len(folders_of(farm, "card")) == 4


async def test_the_folder_of_a_batch_is_named_after_it_and_recorded(tmp_path: Path) -> None:
    service = RecordingService()
    service.batches.deliveries.given.append(finished())
    async with delivering(tmp_path / "Outbox", tmp_path / "Inbox", service):
        await until_true(lambda: bool(service.batches.deliveries.recorded))
    folder = tmp_path / "Outbox" / "shot_010__abcd0123"
    assert service.batches.deliveries.recorded == {BATCH_ID: folder}
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert (result["schema"], result["path"], result["contact_sheet"]) == (
        "orchestrator-batch/1",
        str(folder),
        "contact-sheet.png",
    )
    assert [line["folder"] for line in result["jobs"]] == ["shot__0000000a", "shot__0000000b"]
    assert (folder / "contact-sheet.png").read_bytes() == b"png"


async def test_a_delivery_that_was_not_recorded_is_found_and_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "Outbox").mkdir()
    results = ResultFolder(tmp_path / "Outbox")
    content = BatchContent(finished())
    assert results.put(content.name, content) == results.put(content.name, content)
    again = BatchContent(finished(retries=1))
    assert results.put(again.name, again) != results.put(content.name, content)
    assert len(names_in(tmp_path / "Outbox")) == 2


@pytest.mark.parametrize(("completed", "place"), [(1, "processed"), (0, "failed")])
async def test_the_manifest_goes_to_processed_if_anything_came_of_it(
    tmp_path: Path, completed: int, place: str
) -> None:
    inbox = tmp_path / "Inbox"
    inbox.mkdir()
    (inbox / "shot.json").write_bytes(b"{}")
    claims = ClaimFolder(inbox)
    claims.make()
    claim_id = new_claim_id(SystemClock().now())
    claims.accept(claims.claim("shot.json", claim_id))
    service = RecordingService()
    claim = InboxClaim(claim_id=claim_id, file_name="shot.json")
    service.batches.deliveries.given.append(finished({"completed": completed}, claim=claim))
    async with delivering(tmp_path / "Outbox", inbox, service):
        await until_true(lambda: bool(service.batches.deliveries.recorded))
    assert "shot.json" in names_in(inbox / place)
