"""Workflows and pictures in the Inbox: what is taken, from where, and where it goes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator_mcp.errors import ManifestError
from tests.pages import GRAPH, film, page, picture
from tests.watcher.recording import QUICK, RecordingService, drop, names_in, reason_for, until, watching
from watcher.inbox import InboxLimits
from watcher.scanner import ScanLimits


@pytest.mark.parametrize("workflow", [GRAPH, {"prompt": GRAPH}, page()], ids=["api", "wrapped", "ui"])
async def test_a_workflow_alone_is_a_manifest_with_it_called_as_the_file(
    inbox: Path, service: RecordingService, workflow: dict[str, object]
) -> None:
    drop(inbox, "night train.json", json.dumps(workflow).encode())
    async with watching(inbox, service):
        await until(lambda: len(service.submissions) == 1)
    (taken,) = service.submissions
    assert (taken.manifest.workflow, taken.manifest.workflow_id) == (workflow, "night train")
    assert (taken.stem, taken.warnings) == ("night train", ())


async def test_a_manifest_with_a_workflow_stays_what_it_is(inbox: Path, service: RecordingService) -> None:
    manifest = {"workflow": page(), "parameters": {"width": 8}, "priority": 3}
    drop(inbox, "a.json", json.dumps(manifest).encode())
    async with watching(inbox, service):
        await until(lambda: len(service.submissions) == 1)
    taken = service.submissions[0].manifest
    assert (taken.workflow, taken.workflow_id, taken.priority) == (page(), None, 3)


async def test_a_job_folder_may_hold_a_workflow_alone(inbox: Path, service: RecordingService) -> None:
    (inbox / ".making").mkdir()
    (inbox / ".making" / "job.json").write_text(json.dumps(GRAPH))
    (inbox / ".making").rename(inbox / "shot_7")
    async with watching(inbox, service):
        await until(lambda: len(service.submissions) == 1)
    assert service.submissions[0].manifest.workflow_id == "shot_7"


@pytest.mark.parametrize("events", [True, False])
async def test_pictures_and_films_in_rerender_become_jobs_and_keep_their_names(
    inbox: Path, service: RecordingService, events: bool
) -> None:
    async with watching(inbox, service, events=events, interval=5 if events else 0.2):
        await until(lambda: (inbox / "rerender").is_dir())
        drop(inbox / "rerender", "Käse 1.PNG", picture(prompt=GRAPH, workflow=page()))
        drop(inbox / "rerender", "take.mp4", film({"workflow": page()}))
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 2)
        assert names_in(inbox / "rerender") == []
    found = {taken.claim.file_name: taken for taken in service.submissions}
    assert found["Käse 1.PNG"].manifest.workflow == GRAPH
    assert (found["Käse 1.PNG"].stem, found["Käse 1.PNG"].manifest.workflow_id) == ("Käse 1", "Käse 1")
    assert found["take.mp4"].manifest.workflow == page()


async def test_a_picture_is_taken_from_nowhere_else(
    inbox: Path, service: RecordingService, caplog: pytest.LogCaptureFixture
) -> None:
    drop(inbox, "shot.png", picture(prompt=GRAPH))
    (inbox / "rerender" / "deeper").mkdir(parents=True)
    drop(inbox / "rerender" / "deeper", "shot.png", picture(prompt=GRAPH))
    async with watching(inbox, service):
        await until(lambda: caplog.text.count("stays there") == 2)
        drop(inbox, "after.json")
        await until(lambda: len(service.submissions) == 1)
    assert names_in(inbox / "rerender" / "deeper") == ["shot.png"]
    assert (inbox / "shot.png").exists()
    assert "rerender" in caplog.text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (picture(), "no_workflow"),
        (picture(prompt='{"1": {"class_type": "A", "inputs": {"x": NaN}}}'), "embedded"),
        (picture(prompt=GRAPH)[:60], "embedded"),
        (b"hello", "no_workflow"),
        (b"", "empty"),
        (picture() + bytes(100_000), "too_large"),
        (picture(prompt={"1": {"class_type": "A", "inputs": {"x": "y" * 9000}}}), "embedded"),
    ],
    ids=["plain", "nan", "torn", "text", "empty", "large", "long text"],
)
async def test_a_picture_without_a_workflow_goes_to_failed_with_its_reason(
    inbox: Path, service: RecordingService, content: bytes, code: str
) -> None:
    limits = InboxLimits(patience=QUICK, scan=ScanLimits(file_bytes=5_000, picture_bytes=lambda: 50_000))
    drop(inbox / "rerender", "shot.png", content)
    async with watching(inbox, service, limits=limits):
        await until(lambda: names_in(inbox / "failed") == ["shot.png", "shot.png.error.json"])
    reason = reason_for(inbox, "shot.png")
    assert (reason["code"], reason["file"]) == (code, "shot.png")
    assert reason["message"]
    assert (inbox / "failed" / "shot.png").read_bytes() == content
    assert service.submissions == []


async def test_links_and_pipes_in_rerender_are_no_pictures(
    inbox: Path, service: RecordingService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(prompt=GRAPH))
    (inbox / "rerender").mkdir()
    (inbox / "rerender" / "link.png").symlink_to(secret)
    os.mkfifo(inbox / "rerender" / "pipe.png")
    async with watching(inbox, service):
        await until(lambda: "link.png" in names_in(inbox / "failed") and "pipe.png" in caplog.text)
    assert reason_for(inbox, "link.png")["code"] == "symlink"
    assert names_in(inbox / "rerender") == ["pipe.png"]
    assert secret.exists() and service.submissions == []


async def test_a_picture_that_was_taken_when_the_process_died_is_submitted_by_the_next(
    inbox: Path, service: RecordingService
) -> None:
    claimed = inbox / ".orch" / "claimed"
    claimed.mkdir(parents=True)
    (claimed / "0123456789abcdef01234567-shot 1.png").write_bytes(picture(workflow=page()))
    async with watching(inbox, service):
        await until(lambda: names_in(inbox / ".orch" / "accepted") == ["0123456789abcdef01234567-shot 1.png"])
    assert (service.submissions[0].stem, service.submissions[0].manifest.workflow) == ("shot 1", page())


async def test_the_same_picture_dropped_twice_at_once_is_an_accident(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service):
        drop(inbox / "rerender", "a.png", picture(prompt=GRAPH))
        await until(lambda: len(service.submissions) == 1)
        drop(inbox / "rerender", "a.png", picture(prompt=GRAPH))
        await until(lambda: "a.png" in names_in(inbox / "failed"))
    assert reason_for(inbox, "a.png")["code"] == "duplicate"


async def test_a_workflow_that_no_backend_can_explain_yet_waits_alone_and_health_says_so(
    inbox: Path, service: RecordingService
) -> None:
    known = False

    def refuse(manifest: object) -> Exception | None:
        if known or getattr(manifest, "workflow", None) is None:
            return None
        return ManifestError.at("workflow", message="no backend has answered yet", code="no_catalogue")

    service.refuse = refuse
    drop(inbox, "page.json", json.dumps(page()).encode())
    async with watching(inbox, service) as watcher:
        await until(lambda: watcher.trouble is not None)
        assert "'page.json' in the Inbox cannot be taken yet" in (watcher.trouble or "")
        drop(inbox, "other.json")
        await until(lambda: len(service.submissions) == 1)
        assert names_in(inbox / "failed") == []
        known = True
        await until(lambda: len(service.submissions) == 2)
        await until(lambda: watcher.trouble is None)


async def test_a_folder_for_pictures_that_goes_away_stops_nothing(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service):
        await until(lambda: (inbox / "rerender").is_dir())
        (inbox / "rerender").rename(inbox.parent / "elsewhere")
        drop(inbox, "a.json")
        await until(lambda: len(service.submissions) == 1)
