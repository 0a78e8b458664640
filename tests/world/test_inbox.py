"""Every hazard of dropped files, against the whole orchestrator: which folder it ends in, and with which reason."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.world.house import CARD, FastClock, House, house, until, write_config
from tests.world.looks import assert_alive, content_of, names_in, reason, results, there, until_in, write
from tests.world.many_files import drop_many, until_accepted

if sys.platform != "win32":
    import resource

GOOD = json.dumps({"workflow_json": CARD}).encode()
TEXT = GOOD.decode()
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for leases, odd names or /proc")


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[House]:
    """An orchestrator with its built-in sandbox, whose time passes twenty times as fast."""
    async with house(tmp_path, clock=FastClock(20.0)) as running:
        yield running


@LINUX
async def test_a_writer_with_pauses_is_waited_for_and_its_file_taken_once_and_whole(at: House) -> None:
    with (at.settings.inbox_dir / "slow.json").open("wb", buffering=0) as target:
        for piece in (GOOD[:1], GOOD[1:40], GOOD[40:-1]):
            target.write(piece)
            await anyio.sleep(0.8)  # 16 s of the watcher's time: the writer's pause
        target.write(GOOD[-1:] + b" ")
        await anyio.sleep(0.5)  # whole by now, and still open
        assert there(at.settings.inbox_dir) == ["slow.json"]
    await until_in(at, "processed", "slow.json")
    assert len(results(at)) == 1
    await assert_alive(at)


async def test_a_file_rewritten_in_place_is_taken_with_its_last_whole_content(at: House) -> None:
    path = at.settings.inbox_dir / "again.json"
    write(path, GOOD[:50])
    await anyio.sleep(0.3)
    write(path, GOOD[:-1] + b', "metadata": {"take": 2}}')
    await until_in(at, "processed", "again.json")
    (result,) = results(at).values()
    assert result["metadata"] == {"take": 2}
    await assert_alive(at)


WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "blanks": (b"   \n", "empty"),
    "half": (GOOD[: len(GOOD) // 2], "json"),
    "zeros": (bytes(4096), "json"),
    "latin-1": ('{"workflow_id": "caf\xe9"}'.encode("latin-1"), "encoding"),
    "deep-2000": (b'{"workflow_json": ' + b'{"a":' * 2000 + b"1" + b"}" * 2001, "depth"),
    "deep-100k": (b"[" * 100_000, "depth"),
    "twice": (b'{"workflow_id": "a", "workflow_id": "b"}', "duplicate_key"),
    "nan": (b'{"workflow_id": "a", "parameters": {"cfg": NaN}}', "number"),
    "infinity": (b'{"workflow_id": "a", "parameters": {"cfg": -Infinity}}', "number"),
    "digits": (b'{"workflow_id": "a", "parameters": {"seed": ' + b"9" * 5000 + b"}}", "number"),
    "surrogate": (b'{"workflow_id": "a", "metadata": {"x": "\\ud800"}}', "invalid_manifest"),
    "nul": (b'{"workflow_id": "a\\u0000b"}', "invalid_manifest"),
    "list": (b"[]", "not_an_object"),
    "many-objects": (b"[" + b"{}," * 6_000_000 + b"{}]", "too_large"),
    "no-such-workflow": (b'{"workflow_id": "nobody-made-this"}', "not_found"),
    "dry-run": (b'{"workflow_id": "a", "dry_run": true}', "invalid_manifest"),
    "a-batch": (b'{"schema": "orchestrator-batch/1", "workflow_id": "model_free_card"}', "invalid_manifest"),
    "wrong-fields": (b'{"workflow_id": 7, "priority": "high"}', "invalid_manifest"),
}


async def test_what_is_wrong_goes_to_failed_each_with_its_reason(at: House) -> None:
    for name, (content, _) in WRONG.items():
        write(at.settings.inbox_dir / f"{name}.json", content)
    await until_in(at, "failed", *(f"{name}.json.error.json" for name in WRONG), *(f"{name}.json" for name in WRONG))
    told = {name: reason(at, f"{name}.json") for name in WRONG}
    assert {name: found["code"] for name, found in told.items()} == {name: code for name, (_, code) in WRONG.items()}
    assert all(found["message"] for found in told.values())
    assert "20" in told["latin-1"]["message"], "where the wrong byte stands"
    for name, (content, _) in WRONG.items():
        assert (at.settings.inbox_dir / "failed" / f"{name}.json").read_bytes() == content
    assert there(at.settings.inbox_dir) == []
    assert results(at) == {}
    await assert_alive(at)


async def test_nul_and_odd_characters_in_values_reach_the_store_and_come_back_or_are_refused(at: House) -> None:
    texts = {"nul": "a\u0000b", "emoji": "🎬", "rtl": "\u202eabc", "newline": "a\nb"}
    for name, text in texts.items():
        write(
            at.settings.inbox_dir / f"{name}.json",
            (GOOD[:-1].decode() + ', "metadata": ' + json.dumps({"x": text}) + "}").encode(),
        )

    async def settled() -> bool:
        away = names_in(at.settings.inbox_dir / "processed") + names_in(at.settings.inbox_dir / "failed")
        return {f"{name}.json" for name in texts} <= set(away)

    await until(settled, 40)
    stored = {result["metadata"]["x"] for result in results(at).values()}
    assert {"🎬", "\u202eabc", "a\nb"} <= stored <= set(texts.values())
    await assert_alive(at)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
async def test_what_editors_save_is_taken(at: House, encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    write(at.settings.inbox_dir / "saved.json", mark + TEXT.replace(",", ",\r\n").encode(encoding))
    await until_in(at, "processed", "saved.json")


@pytest.mark.skipif(sys.platform == "win32", reason="asks for sparse files and getrusage")
async def test_a_gigabyte_is_refused_without_being_read(at: House) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (at.settings.inbox_dir / "huge.json").open("wb") as target:
        target.write(b"{")
        target.truncate(1 << 30)
    await until_in(at, "failed", "huge.json", "huge.json.error.json")
    assert reason(at, "huge.json")["code"] == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
    os.unlink(at.settings.inbox_dir / "failed" / "huge.json")
    await assert_alive(at)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
async def test_links_are_refused_and_never_followed(at: House, tmp_path: Path) -> None:
    inbox = at.settings.inbox_dir
    write(tmp_path / "secret.json", GOOD)
    write(inbox / ".real", GOOD)
    os.symlink(tmp_path / "secret.json", inbox / "out.json")
    os.symlink(inbox / ".real", inbox / "in.json")
    os.symlink(tmp_path / "nowhere", inbox / "dangling.json")
    os.symlink("loop.json", inbox / "loop.json")
    names = ("out.json", "in.json", "dangling.json", "loop.json")
    await until_in(at, "failed", *names)
    assert {reason(at, name)["code"] for name in names} == {"symlink"}
    assert all(os.path.islink(inbox / "failed" / name) for name in names)  # noqa: ASYNC240 - a look in a test
    assert (content_of(tmp_path / "secret.json"), content_of(inbox / ".real")) == (GOOD, GOOD)
    assert results(at) == {}
    await assert_alive(at)


@LINUX
async def test_pipes_sockets_and_folders_stay_and_are_told_of_once(
    at: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = at.settings.inbox_dir
    monkeypatch.chdir(inbox)  # the name of a socket must be short
    os.mkfifo("pipe.json")
    os.mkdir("folder.json")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.json")

        async def told() -> bool:
            return caplog.text.count("is neither a manifest") >= 3

        await until(told)
        await assert_alive(at)
        await anyio.sleep(0.5)  # some more scans
    assert caplog.text.count("is neither a manifest") == 3
    assert there(inbox) == ["folder.json", "pipe.json", "socket.json"]


@LINUX
async def test_names_in_every_script_give_results_with_safe_names(at: House) -> None:
    names = [
        "🎬 scene.json",
        "new\nline.json",
        'it\'s "quoted".json',
        "100%s.json",
        "-rf.json",
        "n" * 250 + ".json",
        "\u202egnp.json",
        "кадр.json",
        "カット.json",
        "con.json",
        "..hidden.json"[1:],
        os.fsdecode(b"caf\xe9.json"),
    ]
    for name in names:
        write(at.settings.inbox_dir / name, GOOD)
    taken = [name for name in names if not name.startswith(".")]

    async def processed() -> bool:
        return len(names_in(at.settings.inbox_dir / "processed")) == len(taken)

    await until(processed, 40)
    shown = os.listdir(at.settings.outbox_dir)
    assert len(shown) == len(taken)
    for folder in shown:
        folder.encode("utf-8")
        assert len(folder.encode()) <= 100
        assert not set(folder) & set("/\\\n\"'%\u202e") and not folder.startswith((".", "-"))
    assert there(at.settings.inbox_dir) == [".hidden.json"]
    await assert_alive(at)


@LINUX
async def test_twins_in_case_and_composition_are_jobs_of_their_own(at: House) -> None:
    twins = ["A.json", "a.json", unicodedata.normalize("NFC", "é.json"), unicodedata.normalize("NFD", "é.json")]
    for name in twins:
        at.drop(name)
    await until_in(at, "processed", *twins)
    found = results(at)
    assert len({name.casefold() for name in found}) == 4
    assert len({result["job_id"] for result in found.values()}) == 4


async def test_a_name_that_is_used_again_at_once_is_two_jobs(at: House) -> None:
    for take in range(3):
        at.drop("again.json", GOOD[:-1] + f', "metadata": {{"take": {take}}}}}'.encode())

        async def taken() -> bool:
            return there(at.settings.inbox_dir) == []

        await until(taken)
    await until_in(at, "processed", "again.json", "again-2.json", "again-3.json")
    assert {result["metadata"]["take"] for result in results(at).values()} == {0, 1, 2}


async def test_the_same_file_twice_in_a_moment_is_one_job_and_the_second_is_told_of(at: House) -> None:
    at.drop("shot.json")

    async def accepted() -> bool:
        health = await at.health()
        return bool(health["jobs_queued"] + health["jobs_running"] + len(results(at)))

    await until(accepted)
    at.drop("shot.json")
    await until_in(at, "failed", "shot.json.error.json")
    assert reason(at, "shot.json")["code"] == "duplicate"


@pytest.mark.parametrize("events", [True, False])
async def test_a_thousand_files_at_once_are_all_accepted(tmp_path: Path, events: bool, monkeypatch: Any) -> None:
    if not events:
        monkeypatch.setattr("watcher.inbox.wake_on_events", no_events)
    async with house(tmp_path) as at:
        drop_many(at.settings.inbox_dir, 1000)
        await until_accepted(at, 1000)
        assert there(at.settings.inbox_dir) == []
        assert os.listdir(at.settings.inbox_dir / "failed") == []


async def no_events(*_: Any) -> None:
    """A system without file events."""
    await anyio.sleep_forever()


@LINUX
async def test_an_overflow_of_events_loses_no_file(tmp_path: Path) -> None:
    """While the process stands still, more happens in the Inbox than the system keeps events of."""
    limit = int(content_of(Path("/proc/sys/fs/inotify/max_queued_events")))
    if limit > 50_000:
        pytest.skip("this system queues too many events for a quick test")
    inbox = tmp_path / "Inbox"
    config = write_config(tmp_path, "server: {port: 0}\n")
    command = [sys.executable, "-m", "orchestrator_mcp.server", "--config", str(config)]
    with anyio.fail_after(90):
        async with await anyio.open_process(command, stdin=None, stdout=None) as program:
            assert program.stderr is not None
            said = b""
            async for piece in program.stderr:
                said += piece
                if b"is ready" in said:
                    break
            program.send_signal(signal.SIGSTOP)
            for number in range(limit // 3):  # each is four events
                os.close(os.open(inbox / f".junk-{number % 7}", os.O_CREAT | os.O_WRONLY))
                os.unlink(inbox / f".junk-{number % 7}")
            for number in range(50):
                write(inbox / f"after-{number}.json", GOOD[:-1] + f', "metadata": {{"n": {number}}}}}'.encode())
            program.send_signal(signal.SIGCONT)

            async def processed() -> bool:
                return len(names_in(inbox / "processed")) == 50

            await until(processed, 60)
            program.send_signal(signal.SIGTERM)
            async for _ in program.stderr:
                pass
            assert await program.wait() == 0


async def test_a_file_that_is_deleted_while_it_is_looked_at_is_no_trouble(
    at: House, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        number = 0
        while not stop.is_set():
            path = at.settings.inbox_dir / f"ghost-{number % 20}.json"
            path.write_bytes(GOOD[:40])
            path.unlink(missing_ok=True)
            number += 1

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for number in range(5):
            at.drop(f"good-{number}.json", GOOD[:-1] + f', "metadata": {{"n": {number}}}}}'.encode())
        await until_in(at, "processed", *(f"good-{number}.json" for number in range(5)))
    finally:
        stop.set()
        thread.join()
    assert "Traceback" not in caplog.text
    await assert_alive(at)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are different there")
async def test_a_read_only_file_is_taken_all_the_same(at: House) -> None:
    path = at.settings.inbox_dir / ".hidden"
    write(path, GOOD)
    os.chmod(path, stat.S_IRUSR)
    os.rename(path, at.settings.inbox_dir / "read-only.json")
    await until_in(at, "processed", "read-only.json")


async def test_the_ways_of_editors_are_left_alone_until_the_file_itself_is_there(at: House) -> None:
    inbox = at.settings.inbox_dir
    passing = [".shot.json.swp", "shot.json~", "~$shot.json", "shot.json.tmp", "shot.json.part", "._shot.json"]
    for name in (*passing, "Thumbs.db", ".DS_Store", "desktop.ini", ".syncthing.shot.json.tmp", "#shot.json.lock"):
        write(inbox / name, GOOD)
    await anyio.sleep(0.5)  # 10 s of the watcher's time
    assert results(at) == {}
    os.rename(inbox / "shot.json.tmp", inbox / "shot.json")
    await until_in(at, "processed", "shot.json")
    assert set(passing) - {"shot.json.tmp"} <= set(there(inbox))
    assert len(results(at)) == 1


async def test_a_job_folder_is_taken_whole_and_put_away_whole(at: House) -> None:
    folder = at.settings.inbox_dir / "shot_020"
    os.mkdir(folder)
    write(folder / "start.png", b"x")
    write(folder / "job.json", GOOD)
    await until_in(at, "processed", "shot_020")
    assert sorted(os.listdir(at.settings.inbox_dir / "processed" / "shot_020")) == ["job.json", "start.png"]


@LINUX
async def test_a_job_folder_whose_picture_still_comes_is_waited_for(at: House) -> None:
    folder = at.settings.inbox_dir / "shot_021"
    os.mkdir(folder)
    with (folder / "start.png").open("wb", buffering=0) as coming:
        coming.write(b"x")
        write(folder / "job.json", GOOD)
        await anyio.sleep(0.8)  # 16 s of the watcher's time: the writer's pause
        assert there(at.settings.inbox_dir) == ["shot_021"]
        coming.write(b"y")
    await until_in(at, "processed", "shot_021")
    assert content_of(at.settings.inbox_dir / "processed" / "shot_021" / "start.png") == b"xy"


async def test_an_inbox_that_goes_away_and_comes_back_keeps_nobody_waiting(at: House, tmp_path: Path) -> None:
    inbox = at.settings.inbox_dir
    await assert_alive(at)
    os.rename(inbox, tmp_path / "elsewhere")

    async def told() -> bool:
        return any("Inbox" in problem for problem in (await at.health())["problems"])

    await until(told)
    assert (await at.ended(await at.submit()))["status"] == "completed"
    os.rename(tmp_path / "elsewhere", inbox)

    async def well() -> bool:
        return not (await at.health())["problems"]

    await until(well)
    at.drop("back.json")
    await until_in(at, "processed", "back.json")


async def test_a_share_that_hangs_keeps_nobody_waiting_and_is_told_of(
    at: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = at.settings.inbox_dir
    released, real = threading.Event(), os.scandir

    def hanging(path: Any) -> Any:
        if Path(path) == inbox:
            released.wait(60)
        return real(path)

    monkeypatch.setattr(os, "scandir", hanging)
    try:

        async def told() -> bool:
            return any("has not answered" in problem for problem in (await at.health())["problems"])

        await until(told)
        assert (await at.ended(await at.submit()))["status"] == "completed"
    finally:
        released.set()
    await assert_alive(at)
