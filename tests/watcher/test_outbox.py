from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.domain.deliveries import Delivery, InboxClaim
from tests.watcher.recording import RecordingService, delivering, delivery, drop, names_in, reason_for, until, watching
from watcher.claims import ClaimFolder
from watcher.results import ResultFolder, result_document

JOB_ID = "0196f0a0-0000-7000-8000-0000abcd0123"
FOLDER = "shot_010__abcd0123"


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    (tmp_path / "Outbox").mkdir()
    return tmp_path / "Outbox"


def result_in(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "result.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


async def delivered(outbox: Path, inbox: Path, *deliveries: Delivery) -> RecordingService:
    service = RecordingService()
    service.deliveries.given.extend(deliveries)
    async with delivering(outbox, inbox, service):
        await until(lambda: len(service.deliveries.recorded) + len(service.deliveries.failed) == len(deliveries))
    return service


async def test_a_finished_job_appears_with_all_its_files(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    finished = delivery(tmp_path, job_id=JOB_ID)
    service = await delivered(outbox, inbox, finished)
    folder = outbox / FOLDER
    assert service.deliveries.recorded == {JOB_ID: folder}
    assert names_in(outbox) == [FOLDER]
    assert names_in(folder) == ["result.json", "shot_010_9_01.png", "shot_010_9_02.png"]
    assert (folder / "shot_010_9_01.png").read_bytes() == b"one"
    result = result_in(folder)
    assert result["schema"] == "orchestrator-result/1"
    assert (result["job_id"], result["status"]) == (JOB_ID, "completed")
    assert [output["path"] for output in result["outputs"]] == [
        str(folder / "shot_010_9_01.png"),
        str(folder / "shot_010_9_02.png"),
    ]
    assert result["graph"] == finished.graph
    assert result["timings"] == {"rendering": 1.5}


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_job_without_success_gets_result_json_alone(
    outbox: Path, inbox: Path, tmp_path: Path, status: str
) -> None:
    await delivered(outbox, inbox, delivery(tmp_path, job_id=JOB_ID, status=status))
    assert names_in(outbox / FOLDER) == ["result.json"]
    assert result_in(outbox / FOLDER)["status"] == status


async def test_many_jobs_of_one_name_stand_side_by_side(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    service = await delivered(outbox, inbox, *(delivery(tmp_path) for _ in range(30)))
    assert len(names_in(outbox)) == 30
    for job_id, folder in service.deliveries.recorded.items():
        assert folder is not None
        assert result_in(folder)["job_id"] == job_id


async def test_a_delivery_that_was_not_recorded_is_found_and_not_made_again(
    outbox: Path, inbox: Path, tmp_path: Path
) -> None:
    finished = delivery(tmp_path, job_id=JOB_ID)
    folder = ResultFolder(outbox).publish(finished)
    before = (folder / "result.json").stat()
    service = await delivered(outbox, inbox, finished)
    assert service.deliveries.recorded == {JOB_ID: folder}
    assert names_in(outbox) == [FOLDER]
    assert (folder / "result.json").stat() == before


@pytest.mark.parametrize("taken", ["file", "folder", "torn result", "other job", "dangling link"])
async def test_what_stands_under_the_name_already_is_never_touched(
    outbox: Path, inbox: Path, tmp_path: Path, taken: str
) -> None:
    place = outbox / FOLDER
    if taken == "file":
        place.write_bytes(b"mine")
    elif taken == "dangling link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir()
    if taken == "torn result":
        (place / "result.json").write_text('{"schema": "orchestrator-result/1", "job_id": "' + JOB_ID)
    if taken == "other job":
        (place / "result.json").write_text('{"schema": "orchestrator-result/1", "job_id": "other"}')
    before = place.lstat()
    service = await delivered(outbox, inbox, delivery(tmp_path, job_id=JOB_ID))
    assert service.deliveries.recorded == {JOB_ID: outbox / f"{FOLDER}-2"}
    assert result_in(outbox / f"{FOLDER}-2")["outputs"][0]["path"] == str(outbox / f"{FOLDER}-2" / "shot_010_9_01.png")
    assert place.lstat() == before


async def test_a_damaged_artifact_is_never_shown(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    finished = delivery(tmp_path, job_id=JOB_ID)
    finished.files[1].source.write_bytes(b"TWO")
    service = await delivered(outbox, inbox, finished)
    ((job_id, reason),) = service.deliveries.failed
    assert job_id == JOB_ID and "shot_010_9_02.png is damaged" in reason
    assert names_in(outbox) == []


async def test_one_delivery_that_fails_keeps_no_other_waiting(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    lost = delivery(tmp_path, job_id=JOB_ID, contents=[b"lost"])
    os.unlink(lost.files[0].source)
    good = delivery(tmp_path)
    service = await delivered(outbox, inbox, lost, good)
    assert [job_id for job_id, _ in service.deliveries.failed] == [JOB_ID]
    assert list(service.deliveries.recorded) == [good.job.job_id]


async def test_what_runs_before_left_unfinished_is_removed_and_nothing_else(
    outbox: Path, inbox: Path, tmp_path: Path
) -> None:
    dead = outbox / f".{FOLDER}.0123456789abcdef"
    dead.mkdir()
    (dead / "half.png").write_bytes(b"half")
    (outbox / ".DS_Store").write_bytes(b"x")
    (outbox / ".somebody's").mkdir()
    (outbox / f".{FOLDER}.fedcba9876543210").symlink_to(tmp_path)
    await delivered(outbox, inbox, delivery(tmp_path, job_id=JOB_ID))
    assert names_in(outbox) == [".DS_Store", f".{FOLDER}.fedcba9876543210", ".somebody's", FOLDER]
    assert names_in(tmp_path) != []


async def test_hostile_names_stay_in_their_folder(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    finished = delivery(tmp_path, job_id=JOB_ID, stem="../../etc/x\n")
    names = ["../../escape.png", "result.json"]
    files = tuple(
        type(file)(name=name, source=file.source, size=file.size, sha256=file.sha256)
        for name, file in zip(names, finished.files, strict=True)
    )
    hostile = Delivery(
        job=finished.job, stem=finished.stem, to_outbox=True, files=files, graph=finished.graph, timings={}
    )
    service = await delivered(outbox, inbox, hostile)
    folder = service.deliveries.recorded[JOB_ID]
    assert folder == outbox / "_.._etc_x___abcd0123"
    assert names_in(folder) == ["_.._escape.png", "result-2.json", "result.json"]
    assert result_in(folder)["job_id"] == JOB_ID


async def test_nobody_ever_sees_a_part_of_a_result(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    service = RecordingService()
    torn: list[str] = []
    done = anyio.Event()

    def look() -> None:
        for name in os.listdir(outbox):
            if name.startswith("."):
                continue
            there = set(os.listdir(outbox / name))
            if there != {"result.json", "shot_010_9_01.png", "shot_010_9_02.png"}:
                torn.append(f"{name}: {there}")

    async def keep_looking() -> None:
        while not done.is_set():
            await anyio.to_thread.run_sync(look)

    with anyio.fail_after(30):
        async with delivering(outbox, inbox, service), anyio.create_task_group() as tasks:
            tasks.start_soon(keep_looking)
            for _ in range(20):
                service.deliveries.given.append(delivery(tmp_path, contents=[b"a" * 300_000, b"b" * 300_000]))
            await until(lambda: len(service.deliveries.recorded) == 20)
            done.set()
    assert torn == []


KILLED_WHILE_PUBLISHING = """
import sys
from pathlib import Path
from tests.watcher.recording import delivery
from watcher.results import ResultFolder

outbox = ResultFolder(Path(sys.argv[1]))
outbox.prepare()
while True:
    outbox.publish(delivery(Path(sys.argv[2]), contents=[b"a" * 400_000, b"b" * 400_000]))
"""


def test_a_run_that_is_killed_leaves_only_whole_results(outbox: Path, tmp_path: Path) -> None:
    for round_number in range(1, 6):
        program = [sys.executable, "-c", KILLED_WHILE_PUBLISHING, str(outbox), str(tmp_path)]
        with subprocess.Popen(program, cwd=Path(__file__).parents[2]) as publishing:
            deadline = time.monotonic() + 30
            while len(_shown(outbox)) < round_number * 3 and time.monotonic() < deadline:
                time.sleep(0.001 * round_number)
            publishing.kill()
        for name in _shown(outbox):
            assert names_in(outbox / name) == ["result.json", "shot_010_9_01.png", "shot_010_9_02.png"]
            for output in result_in(outbox / name)["outputs"]:
                content = Path(output["path"]).read_bytes()
                assert (len(content), hashlib.sha256(content).hexdigest()) == (output["size"], output["sha256"])
    assert len(_shown(outbox)) >= 15
    ResultFolder(outbox).prepare()
    assert names_in(outbox) == _shown(outbox)


def _shown(outbox: Path) -> list[str]:
    return [name for name in names_in(outbox) if not name.startswith(".")]


async def test_a_job_that_needs_no_result_is_only_put_away(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    service = await delivered(outbox, inbox, delivery(tmp_path, job_id=JOB_ID, to_outbox=False))
    assert service.deliveries.recorded == {JOB_ID: None}
    assert names_in(outbox) == []


async def test_an_outbox_that_is_missing_at_the_start_is_made_and_one_that_vanishes_is_waited_for(
    tmp_path: Path, outbox: Path, inbox: Path
) -> None:
    shutil.rmtree(outbox)
    service = RecordingService()
    service.deliveries.given.append(delivery(tmp_path))
    async with delivering(outbox, inbox, service):
        await until(lambda: len(service.deliveries.recorded) == 1)
        os.rename(outbox, tmp_path / "elsewhere")
        waiting = delivery(tmp_path)
        service.deliveries.given.append(waiting)
        await until(lambda: len(service.deliveries.failed) == 1)
        gone = f"the Outbox {outbox} is gone; put it back where it was"
        assert service.deliveries.failed == [(waiting.job.job_id, gone)]
        assert "Outbox" not in names_in(tmp_path)
        os.rename(tmp_path / "elsewhere", outbox)
        service.deliveries.given.append(waiting)
        await until(lambda: len(service.deliveries.recorded) == 2)
    assert len(names_in(outbox)) == 2


async def _claimed(inbox: Path, name: str = "shot 010.json") -> InboxClaim:
    service = RecordingService()
    drop(inbox, name)
    async with watching(inbox, service):
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
    return service.submissions[0].claim


@pytest.mark.parametrize("name", ["shot 010.json", "caf\udce9.json", "é" * 120 + ".json"])
async def test_the_manifest_of_a_completed_job_goes_to_processed_under_its_own_name(
    outbox: Path, inbox: Path, tmp_path: Path, name: str
) -> None:
    claim = await _claimed(inbox, name)
    await delivered(outbox, inbox, delivery(tmp_path, claim=claim))
    (kept,) = names_in(inbox / "processed")
    assert kept == name or (len(os.fsencode(name)) > 200 and kept.startswith("é" * 97) and kept.endswith(".json"))
    assert names_in(inbox / ".orch" / "accepted") == []
    assert names_in(inbox / "failed") == []


@pytest.mark.parametrize(("status", "code"), [("failed", "node_error"), ("cancelled", "cancelled")])
async def test_the_manifest_of_a_job_without_success_goes_to_failed_with_the_reason(
    outbox: Path, inbox: Path, tmp_path: Path, status: str, code: str
) -> None:
    claim = await _claimed(inbox)
    await delivered(outbox, inbox, delivery(tmp_path, claim=claim, status=status, job_id=JOB_ID))
    assert names_in(inbox / "failed") == ["shot 010.json", "shot 010.json.error.json"]
    reason = reason_for(inbox, "shot 010.json")
    assert (reason["code"], reason["job_id"], reason["status"]) == (code, JOB_ID, status)


async def test_a_manifest_never_replaces_one_that_was_put_away_before(
    outbox: Path, inbox: Path, tmp_path: Path
) -> None:
    for folder in ("processed", "failed"):
        drop(inbox / folder, "shot 010.json", b"before")
    claim = await _claimed(inbox)
    await delivered(outbox, inbox, delivery(tmp_path, claim=claim, status="failed"))
    claim = await _claimed(inbox)
    await delivered(outbox, inbox, delivery(tmp_path, claim=claim))
    assert names_in(inbox / "processed") == ["shot 010-2.json", "shot 010.json"]
    assert names_in(inbox / "failed") == ["shot 010-2.json", "shot 010-2.json.error.json", "shot 010.json"]
    assert (inbox / "failed" / "shot 010.json").read_bytes() == b"before"


async def test_a_delivery_repeated_after_a_crash_changes_nothing(outbox: Path, inbox: Path, tmp_path: Path) -> None:
    claim = await _claimed(inbox)
    finished = delivery(tmp_path, claim=claim, status="failed")
    for _ in range(2):
        service = await delivered(outbox, inbox, finished)
        assert len(service.deliveries.recorded) == 1
    assert len(names_in(outbox)) == 1
    assert names_in(inbox / "failed") == ["shot 010.json", "shot 010.json.error.json"]


async def test_a_reason_left_by_a_crash_before_the_move_is_used_again(
    outbox: Path, inbox: Path, tmp_path: Path
) -> None:
    claim = await _claimed(inbox)
    left = {"schema": "orchestrator-error/1", "claim_id": claim.claim_id}
    drop(inbox / "failed", "shot 010.json.error.json", json.dumps(left).encode())
    await delivered(outbox, inbox, delivery(tmp_path, claim=claim, status="failed"))
    assert names_in(inbox / "failed") == ["shot 010.json", "shot 010.json.error.json"]
    assert reason_for(inbox, "shot 010.json")["code"] == "node_error"


@pytest.mark.parametrize("claim_id", ["../../x", "", "0" * 24, "0" * 23 + "\n"])
def test_a_claim_that_is_none_leads_nowhere(inbox: Path, claim_id: str) -> None:
    claims = ClaimFolder(inbox)
    claims.prepare()
    assert claims.find(claim_id, "../../../etc/passwd") is None


def test_a_claim_is_found_in_the_midst_of_its_move(inbox: Path) -> None:
    claims = ClaimFolder(inbox)
    claims.prepare()
    drop(inbox, "a.json")
    claim = claims.claim("a.json", "0" * 24)
    assert claims.find("0" * 24, "a.json") == claim
    claims.accept(claim)
    assert not claims.put_away(claim)
    moved = claims.find("0" * 24, "a.json")
    assert moved is not None and claims.put_away(moved)
    claims.accept(claim)
    assert names_in(inbox / "processed") == ["a.json"]
    assert names_in(inbox / ".orch" / "accepted") == []


def test_a_result_keeps_every_field_of_the_job(tmp_path: Path) -> None:
    finished = delivery(tmp_path)
    document = result_document(finished, tmp_path)
    shown = finished.job.model_dump(mode="json")
    assert {key: document[key] for key in shown if key != "outputs"} == {
        key: value for key, value in shown.items() if key != "outputs"
    }


async def test_an_inbox_that_cannot_be_used_is_not_told_of_as_the_outbox(
    outbox: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "Inbox").write_text("not a folder", "utf-8")
    async with delivering(outbox, tmp_path / "Inbox", RecordingService()) as serving:
        await until(lambda: serving.trouble is not None)
    assert serving.trouble is not None
    assert serving.trouble.startswith(f"Deliveries wait, for the Inbox {tmp_path / 'Inbox'} cannot be used: ")
    assert "Outbox" not in caplog.text.replace(str(outbox), "")
