"""An Inbox that goes away, hangs or may not take anything in."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.errors import StorageError
from tests.watcher.recording import (
    RecordingService,
    drop,
    left_in_inbox,
    manifest_with,
    names_in,
    until,
    watching,
    write,
)


async def test_an_inbox_that_goes_away_is_told_of_and_comes_back(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service) as watcher:
        drop(inbox, "a.json", manifest_with(n=1))
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
        shutil.rmtree(inbox)
        write(inbox, b"in the way")
        await until(lambda: watcher.trouble is not None)
        os.unlink(inbox)
        await until(lambda: "No such file" in (watcher.trouble or ""))
        os.mkdir(inbox)
        await until(lambda: watcher.trouble is None)
        drop(inbox, "b.json", manifest_with(n=2))
        await until(lambda: len(service.submissions) == 2)


async def test_an_inbox_that_comes_back_has_its_unsettled_claims_looked_at_again(
    inbox: Path, tmp_path: Path, service: RecordingService
) -> None:
    service.refusals = [StorageError("not now", retry_after=0.3)]
    async with watching(inbox, service) as watcher:
        drop(inbox, "a.json")
        await until(lambda: not service.refusals)
        os.rename(inbox, tmp_path / "elsewhere")
        await until(lambda: watcher.trouble is not None)
        os.rename(tmp_path / "elsewhere", inbox)
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)
    assert len(service.submissions) == 1


async def test_nothing_is_taken_while_nothing_is_accepted(inbox: Path, service: RecordingService) -> None:
    service.closed_because = "The disk is full."
    async with watching(inbox, service):
        drop(inbox, "a.json")
        await anyio.sleep(0.5)  # some scans: that nothing happens can only be waited for
        assert left_in_inbox(inbox) == ["a.json"]
        service.closed_because = None
        await until(lambda: len(names_in(inbox / ".orch" / "accepted")) == 1)


async def test_a_refusal_that_cannot_be_written_down_waits_until_it_can(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service) as watcher:
        await until(lambda: (inbox / "failed").is_dir())
        os.rmdir(inbox / "failed")
        write(inbox / "failed", b"in the way")
        drop(inbox, "wrong.json", b"{}")
        await until(lambda: watcher.trouble is not None)
        os.unlink(inbox / "failed")
        await until(lambda: "wrong.json" in names_in(inbox / "failed"))
    assert names_in(inbox / ".orch" / "claimed") == []


async def test_an_inbox_whose_own_folders_vanish_goes_on(inbox: Path, service: RecordingService) -> None:
    async with watching(inbox, service):
        await until(lambda: (inbox / ".orch" / "claimed").exists())
        shutil.rmtree(inbox / ".orch")
        drop(inbox, "a.json")
        await until(lambda: len(service.submissions) == 1)


async def test_own_folders_that_are_links_are_not_followed(
    inbox: Path, tmp_path: Path, service: RecordingService
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (inbox / ".orch").symlink_to(tmp_path / "elsewhere")
    drop(inbox, "a.json")
    async with watching(inbox, service) as watcher:
        await until(lambda: watcher.trouble is not None)
    assert names_in(tmp_path / "elsewhere") == []
    assert service.submissions == []


async def test_a_folder_that_hangs_keeps_nobody_waiting(
    inbox: Path, service: RecordingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, released = threading.Event(), threading.Event()
    real = os.scandir

    def hanging(path: Path) -> object:
        if Path(path) == inbox:
            reached.set()
            released.wait(30)
        return real(path)

    try:
        with anyio.fail_after(10):
            async with watching(inbox, service):
                monkeypatch.setattr(os, "scandir", hanging)
                await until(reached.is_set)
    finally:
        released.set()
    assert service.submissions == []
