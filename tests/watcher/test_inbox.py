from __future__ import annotations

import json
import os
import sys
import unicodedata
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.errors import ManifestError, StorageError
from tests.watcher.recording import (
    GOOD,
    QUICK,
    RecordingService,
    drop,
    left_in_inbox,
    manifest_with,
    names_in,
    reason_for,
    until,
    watching,
    write,
)
from watcher.inbox import InboxLimits
from watcher.rules import LOCAL
from watcher.scanner import ScanLimits

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for leases")


async def test_a_manifest_becomes_a_job_and_waits_among_the_accepted(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service, patience=LOCAL, interval=5):
        drop(inbox, "shot 010.json", manifest_with(prompt="a", seed=7))
        await until(lambda: names_in(inbox / ".orch" / "accepted") != [])
    (found,) = service.submissions
    assert found.manifest.parameters == {"prompt": "a", "seed": 7}
    assert (found.stem, found.claim.file_name) == ("shot 010", "shot 010.json")
    assert names_in(inbox / ".orch" / "accepted") == [f"{found.claim.claim_id}-shot 010.json"]
    assert left_in_inbox(inbox) == []


@pytest.mark.parametrize("events", [True, False])
async def test_files_that_were_there_before_and_come_later_are_taken(
    inbox: Path, service: RecordingService, events: bool
) -> None:
    drop(inbox, "before.json", manifest_with(n=1))
    async with watching(inbox, service, events=events):
        await until(lambda: len(service.submissions) == 1)
        drop(inbox, "later.json", manifest_with(n=2))
        await until(lambda: len(service.submissions) == 2)


@LINUX
async def test_a_slow_writer_is_waited_for_even_when_what_it_wrote_parses(
    inbox: Path, service: RecordingService
) -> None:
    async with watching(inbox, service):
        with (inbox / "slow.json").open("wb", buffering=0) as target:
            for byte in GOOD:
                target.write(bytes([byte]))
                await anyio.sleep(0.002)
            target.write(b"   ")
            await anyio.sleep(0.7)  # longer than any patience of this Inbox: only the open file holds it
            assert service.submissions == []
        await until(lambda: len(service.submissions) == 1)
    assert names_in(inbox / "failed") == []


@pytest.mark.parametrize("network", [True, False])
async def test_a_writer_that_opens_and_closes_for_each_piece_is_waited_for(
    inbox: Path, service: RecordingService, network: bool
) -> None:
    async with watching(inbox, service, network=network):
        for start in range(0, len(GOOD), 8):
            with (inbox / "slow.json").open("ab") as target:
                target.write(GOOD[start : start + 8])
            await anyio.sleep(0.02)
        await until(lambda: len(service.submissions) == 1)
    assert service.submissions[0].manifest.parameters == {"prompt": "a"}


async def test_a_file_that_is_rewritten_in_place_is_taken_with_its_last_content(
    inbox: Path, service: RecordingService
) -> None:
    path = drop(inbox, "a.json", b'{"workflow_id": ')
    async with watching(inbox, service):
        path.write_bytes(manifest_with(n=2))
        await until(lambda: len(service.submissions) == 1)
    assert service.submissions[0].manifest.parameters == {"n": 2}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b'{"workflow_id": "x"', "json"),
        (b"\x00" * 100, "json"),
        (b'{"workflow_id": "caf\xe9"}', "encoding"),
        (b"[" * 100_000, "depth"),
        (b'{"workflow_id": "x", "workflow_id": "y"}', "duplicate_key"),
        (b'{"workflow_id": "x", "parameters": {"cfg": NaN}}', "number"),
        (b'{"workflow_id": "\\ud800"}', "invalid_manifest"),
        (b"[]", "not_an_object"),
        (b" " * 2000, "too_large"),
        (b"{}", "invalid_manifest"),
    ],
)
async def test_a_broken_manifest_goes_to_failed_with_the_reason(
    inbox: Path, service: RecordingService, content: bytes, code: str
) -> None:
    limits = InboxLimits(patience=None, scan=ScanLimits(file_bytes=200_000 if code == "depth" else 1000))
    drop(inbox, "broken.json", content)
    async with watching(inbox, service, limits=_quick(limits)):
        await until(lambda: names_in(inbox / "failed") == ["broken.json", "broken.json.error.json"])
    reason = reason_for(inbox, "broken.json")
    assert reason["code"] == code
    assert reason["schema"] == "orchestrator-error/1"
    assert reason["file"] == "broken.json"
    assert reason["message"]
    assert service.submissions == []
    assert names_in(inbox / ".orch" / "claimed") == []


async def test_wrong_fields_are_listed_in_plain_words(inbox: Path, service: RecordingService) -> None:
    wrong = {"workflow_id": 3, "parameters": [1], "priority": "high", "required_capabilities": "flux"}
    drop(inbox, "wrong.json", json.dumps(wrong).encode())
    async with watching(inbox, service, patience=LOCAL):
        await until(lambda: "wrong.json" in names_in(inbox / "failed"))
    problems = {tuple(each["path"]): each["message"] for each in reason_for(inbox, "wrong.json")["problems"]}
    assert problems == {
        ("workflow_id",): "a text is needed, not the whole number 3",
        ("parameters",): "an object in braces {…} is needed, not a list",
        ("priority",): "a whole number is needed, not the text 'high'",
        ("required_capabilities",): "a list in brackets […] is needed, not the text 'flux'",
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_what_windows_editors_save_is_taken(inbox: Path, service: RecordingService, encoding: str) -> None:
    drop(inbox, "a.json", '{"workflow_id": "x",\r\n"shot": 1}'.encode(encoding))
    async with watching(inbox, service):
        await until(lambda: len(service.submissions) == 1)
    (warning,) = service.submissions[0].warnings
    assert warning == "The unknown field 'shot' was ignored. Values for the workflow go inside 'parameters'."


async def test_a_refusal_of_the_service_goes_to_failed(inbox: Path, service: RecordingService) -> None:
    service.refusals = [ManifestError.at("parameters", "stps", message="there is no such input", allowed=["steps"])]
    drop(inbox, "a.json")
    async with watching(inbox, service):
        await until(lambda: names_in(inbox / "failed") == ["a.json", "a.json.error.json"])
    (problem,) = reason_for(inbox, "a.json")["problems"]
    expected = {"path": ["parameters", "stps"], "message": "there is no such input", "code": "invalid"}
    assert problem == {**expected, "allowed": ["steps"]}


async def test_a_store_that_is_full_loses_nothing_and_takes_no_more_files(
    inbox: Path, service: RecordingService
) -> None:
    service.refusals = [StorageError("The disk is full.", retry_after=0.2)]
    drop(inbox, "a.json", manifest_with(n=1))
    async with watching(inbox, service):
        await until(lambda: not service.refusals)
        drop(inbox, "b.json", manifest_with(n=2))
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 2)
    assert len(service.submissions) == 2
    assert names_in(inbox / "failed") == []


async def test_a_manifest_that_breaks_the_service_keeps_nobody_else_waiting(
    inbox: Path, service: RecordingService, caplog: pytest.LogCaptureFixture
) -> None:
    def poisoned(manifest: Manifest) -> Exception | None:
        return RuntimeError("boom") if manifest.parameters.get("poison") else None

    service.refuse = poisoned
    drop(inbox, "poison.json", manifest_with(poison=True))
    async with watching(inbox, service):
        await until(lambda: "boom" in caplog.text)
        for number in range(3):
            drop(inbox, f"good-{number}.json", manifest_with(n=number))
            await until(lambda number=number: len(service.submissions) == number + 1)  # type: ignore[misc]
        await until(lambda: len(names_in(inbox / ".orch" / "claimed")) == 1)


async def test_a_claim_of_a_run_that_died_becomes_one_job(inbox: Path, service: RecordingService) -> None:
    service.refusals = [StorageError("not now", retry_after=60)]
    drop(inbox, "a.json", manifest_with(n=1))
    async with watching(inbox, service):
        await until(lambda: not service.refusals)
    assert len(names_in(inbox / ".orch" / "claimed")) == 1

    async with watching(inbox, service):
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
    (claimed,) = (inbox / ".orch" / "accepted").iterdir()
    os.rename(claimed, inbox / ".orch" / "claimed" / claimed.name)  # died between the store's commit and the rename

    async with watching(inbox, service):
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
    assert [each.claim.file_name for each in service.submissions] == ["a.json"]


async def test_accepted_manifests_that_the_store_does_not_know_are_submitted_again(
    inbox: Path, service: RecordingService
) -> None:
    drop(inbox, "a.json")
    async with watching(inbox, service):
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
    new_store = RecordingService()
    async with watching(inbox, new_store):
        await until(lambda: len(new_store.submissions) == 1)
    assert new_store.submissions[0].claim == service.submissions[0].claim


async def test_a_link_is_refused_and_what_it_points_to_stays(
    inbox: Path, tmp_path: Path, service: RecordingService
) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(GOOD)
    (inbox / "link.json").symlink_to(secret)
    (inbox / "dangling.json").symlink_to(tmp_path / "nowhere")
    (inbox / "loop.json").symlink_to(inbox / "loop.json")
    async with watching(inbox, service):
        await until(lambda: len(names_in(inbox / "failed")) == 6)
    assert {reason_for(inbox, f"{name}.json")["code"] for name in ("link", "dangling", "loop")} == {"symlink"}
    assert secret.read_bytes() == GOOD
    assert service.submissions == []


async def test_strangers_stay_and_are_told_of_once(
    inbox: Path, service: RecordingService, caplog: pytest.LogCaptureFixture
) -> None:
    (inbox / "folder.json").mkdir()
    os.mkfifo(inbox / "pipe.json")
    (inbox / "picture\n.png").write_bytes(b"x")
    (inbox / ".hidden.json").write_bytes(GOOD)
    async with watching(inbox, service) as door:
        await until(lambda: caplog.text.count("is neither a manifest") == 3)
        assert " and 2 more in the Inbox: neither a manifest" in (door.notice or "")
        drop(inbox, "good.json")
        await until(lambda: len(service.submissions) == 1)
        await anyio.sleep(0.5)  # some more scans
    assert caplog.text.count("is neither a manifest") == 3
    assert "'picture\\n.png'" in caplog.text
    assert left_in_inbox(inbox) == [".hidden.json", "folder.json", "picture\n.png", "pipe.json"]


async def test_health_stops_telling_of_a_stranger_that_is_gone(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service) as door:
        assert door.notice is None
        (inbox / "holiday.jpg").write_bytes(b"x")
        await until(lambda: door.notice is not None)
        assert (door.notice or "").startswith("'holiday.jpg' in the Inbox")
        (inbox / "holiday.jpg").unlink()
        await until(lambda: door.notice is None)


async def test_a_job_folder_is_claimed_whole(inbox: Path, service: RecordingService) -> None:
    (inbox / "shot_020").mkdir(parents=True)
    (inbox / "shot_020" / "start.png").write_bytes(b"x")
    async with watching(inbox, service):
        drop(inbox / "shot_020", "job.json")
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
    (found,) = service.submissions
    assert found.stem == "shot_020"
    (claimed,) = (inbox / ".orch" / "accepted").iterdir()
    assert names_in(claimed) == ["job.json", "start.png"]


async def test_a_job_folder_whose_manifest_is_a_link_is_refused(
    inbox: Path, tmp_path: Path, service: RecordingService
) -> None:
    (tmp_path / "secret.json").write_bytes(GOOD)
    (inbox / "shot").mkdir(parents=True)
    (inbox / "shot" / "job.json").symlink_to(tmp_path / "secret.json")
    async with watching(inbox, service):
        await until(lambda: "shot.error.json" in names_in(inbox / "failed"))
    assert reason_for(inbox, "shot")["code"] == "symlink"
    assert service.submissions == []


NAMES = ["-rf.json", "a\nb.json", 'it\'s "quoted".json', "100%s.json", "🎬.json", "\u202egnp.json", "x" * 250 + ".json"]


@pytest.mark.parametrize("name", NAMES)
async def test_odd_names_are_taken(inbox: Path, service: RecordingService, name: str) -> None:
    drop(inbox, name)
    async with watching(inbox, service):
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
    assert len(service.submissions) == 1


@LINUX
@pytest.mark.parametrize("when", ["before", "while"])
async def test_a_name_that_is_not_utf8_is_taken_and_kills_nothing(
    inbox: Path, service: RecordingService, when: str
) -> None:
    odd = os.fsdecode(b"caf\xe9.json")
    if when == "before":
        drop(inbox, odd)
    async with watching(inbox, service):
        write(inbox / odd, GOOD)
        await until(lambda: len(service.submissions) >= 1)
        drop(inbox, "next.json", manifest_with(n=2))
        await until(lambda: any(each.stem == "next" for each in service.submissions))
    assert service.submissions[0].claim.file_name == "caf\\xe9.json"
    assert service.submissions[0].claim.file_name.encode()


async def test_twins_in_case_and_composition_are_two_jobs(inbox: Path, service: RecordingService) -> None:
    twins = ["A.json", "a.json", unicodedata.normalize("NFC", "é.json"), unicodedata.normalize("NFD", "é.json")]
    for number, name in enumerate(twins):
        drop(inbox, name, manifest_with(n=number))
    async with watching(inbox, service):
        await until(lambda: len(service.submissions) == 4)
    assert sorted(each.claim.file_name for each in service.submissions) == sorted(twins)


async def test_a_name_that_is_used_again_at_once_is_two_jobs(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service):
        for number in range(5):
            drop(inbox, "a.json", manifest_with(n=number))
            await until(lambda: left_in_inbox(inbox) == [])
        await until(lambda: len(service.submissions) == 5)
    assert len({each.claim.claim_id for each in service.submissions}) == 5


async def test_the_same_file_twice_within_seconds_is_one_job_and_the_second_is_told_of(
    inbox: Path, service: RecordingService
) -> None:
    async with watching(inbox, service):
        drop(inbox, "a.json")
        await until(lambda: len(service.submissions) == 1)
        drop(inbox, "a.json")
        await until(lambda: "a.json.error.json" in names_in(inbox / "failed"))
    reason = reason_for(inbox, "a.json")
    assert reason["code"] == "duplicate"
    assert service.submissions[0].job_id in reason["message"]
    assert len(service.submissions) == 1


async def test_a_thousand_files_at_once_are_all_taken_oldest_first(inbox: Path, service: RecordingService) -> None:
    for number in range(1000):
        path = inbox / f"{number:04d}.json"
        path.write_bytes(manifest_with(n=number))
        os.utime(path, ns=(0, 10**18 - number))
    limits = _quick(InboxLimits(submissions=1, scan=ScanLimits(batch=100)))
    async with watching(inbox, service, limits=limits):
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1000, seconds=30)
    assert [each.stem for each in service.submissions] == [f"{number:04d}" for number in reversed(range(1000))]


def _quick(limits: InboxLimits) -> InboxLimits:
    return InboxLimits(scan=limits.scan, submissions=limits.submissions, patience=QUICK)
