from __future__ import annotations

import errno
import importlib.util
import os
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator_mcp import files
from orchestrator_mcp.files import publishing, writing


def test_a_plain_file_is_read_with_its_signature(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"{}")
    reading = files.read_regular(path, most=2)
    assert reading.content == b"{}"
    assert reading.signature == files.Signature.of(path.stat())


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as target:
        target.truncate(1 << 40)
    with pytest.raises(files.FileTooLargeError, match="1,099,511,627,776 bytes, 16 are allowed"):
        files.read_regular(path, most=16)


@pytest.mark.parametrize("make", ["link", "dangling", "loop", "fifo", "socket", "folder"])
def test_only_plain_files_are_read_and_nothing_is_waited_for(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x.json"
    (tmp_path / "secret").write_text("secret")
    server = socket.socket(socket.AF_UNIX)
    with server:
        {
            "link": lambda: path.symlink_to(tmp_path / "secret"),
            "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
            "loop": lambda: path.symlink_to(path),
            "fifo": lambda: os.mkfifo(path),
            "socket": lambda: server.bind(os.path.relpath(path)),
            "folder": lambda: path.mkdir(),
        }[make]()
        with pytest.raises(files.NotRegularError):
            files.read_regular(path, most=100)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read_regular(tmp_path / "gone", most=10)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "growing.json"
    path.write_bytes(b"x" * (8 << 20))
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab") as target:
            while not stop.is_set():
                target.write(b"x")
                target.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(files.ChangedWhileReadError):
            for _ in range(1000):
                files.read_regular(path, most=1 << 30)
    finally:
        stop.set()
        writer.join()


def test_a_durable_write_replaces_in_one_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write_durably(path, b"old")
    files.write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "result.json"
    (folder / "full").mkdir(parents=True)
    with pytest.raises(OSError):
        files.write_durably(folder, b"new")
    assert os.listdir(tmp_path) == ["result.json"]


def test_what_a_death_left_half_written_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for name in (".0123456789abcdef.part", ".film.part", "0123456789abcdef.part", "result.json"):
        (tmp_path / name).write_bytes(b"{")
    files.sweep_unfinished(tmp_path)
    files.sweep_unfinished(tmp_path / "missing")
    assert sorted(os.listdir(tmp_path)) == [".film.part", "0123456789abcdef.part", "result.json"]


def test_a_new_file_never_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        files.write_new(tmp_path / "link")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("how", ["kernel", "link", "look"])
def test_a_move_never_overwrites(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(how, monkeypatch)
    folder = tmp_path / "processed"
    folder.mkdir()
    source, target = tmp_path / "shot.json", folder / "shot.json"
    source.write_text("first")
    files.rename_exclusively(source, target)
    source.write_text("second")
    with pytest.raises(FileExistsError):
        files.rename_exclusively(source, target)
    assert (source.read_text(), target.read_text()) == ("second", "first")


@pytest.mark.parametrize("how", ["kernel", "link", "look"])
def test_a_link_is_moved_itself_and_its_target_stays(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(how, monkeypatch)
    (tmp_path / "failed").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "x.json").symlink_to(tmp_path / "secret")
    files.rename_exclusively(tmp_path / "x.json", tmp_path / "failed" / "x.json")
    assert (tmp_path / "failed" / "x.json").is_symlink()
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize("how", ["kernel", "look"])
def test_a_folder_is_published_once_under_a_name(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(how, monkeypatch)
    for number in range(2):
        hidden = tmp_path / f".hidden{number}"
        hidden.mkdir()
        (hidden / "result.json").write_text(str(number))
    files.publish_directory(tmp_path / ".hidden0", tmp_path / "shot")
    with pytest.raises(FileExistsError):
        files.publish_directory(tmp_path / ".hidden1", tmp_path / "shot")
    assert (tmp_path / "shot" / "result.json").read_text() == "0"
    assert (tmp_path / ".hidden1" / "result.json").read_text() == "1"


def test_a_move_of_what_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.rename_exclusively(tmp_path / "gone", tmp_path / "x")


def test_free_space_is_bytes(tmp_path: Path) -> None:
    assert files.free_space(tmp_path) > 0
    with pytest.raises(FileNotFoundError):
        files.free_space(tmp_path / "gone")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/home/a", "ext4"),
        (b"/mnt/farm/inbox", "nfs4"),
        (b"/mnt/farmer", "ext4"),
        (b"/mnt/my share/x", "cifs"),
        (b"/mnt/farm/local/x", "xfs"),
    ],
)
def test_the_nearest_and_latest_mount_decides(path: bytes, found: str) -> None:
    mounts = (
        b"rootfs / rootfs rw 0 0\n/dev/sda / ext4 rw 0 0\nserver:/farm /mnt/farm nfs4 rw 0 0\n"
        b"//nas/x /mnt/my\\040share cifs rw 0 0\n/dev/sdb /mnt/farm/local xfs rw 0 0\nbroken\n"
    )
    assert files.mounted_type(mounts, path) == found


def test_a_local_folder_is_no_share(tmp_path: Path) -> None:
    assert files.is_network_filesystem(tmp_path) is False
    assert files.is_network_filesystem(Path("\\\\nas\\share")) is True


def test_a_system_without_fcntl_writes_durably_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    portable = _imported_without_fcntl(monkeypatch)
    path = tmp_path / "a.json"
    portable.write_durably(path, b"{}")
    portable.sync_directory(tmp_path)
    assert files.read_regular(path, most=10).content == b"{}"


def _imported_without_fcntl(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    spec = importlib.util.spec_from_file_location("writing_without_fcntl", writing.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def _only(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what other systems do not have."""
    if how != "kernel":
        monkeypatch.setattr(publishing, "_renameat2", lambda: None)
    if how == "look":

        def no_links(*_args: object, **_options: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", no_links)
