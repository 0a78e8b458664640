from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from orchestrator_mcp.assets import OutsideError, open_below, open_under_roots
from orchestrator_mcp.assets import roots as roots_module
from orchestrator_mcp.domain.references import PathReference, parse_reference
from orchestrator_mcp.files import NotRegularError

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="makes pipes and links")


@pytest.fixture(params=[True, False], ids=["by steps", "by looking"])
def root(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a file in it; opened as POSIX systems can, and as the others must."""
    monkeypatch.setattr(roots_module, "_BY_STEPS", request.param and roots_module._BY_STEPS)
    (tmp_path / "plates" / "day").mkdir(parents=True)
    (tmp_path / "plates" / "day" / "sky.png").write_bytes(b"sky")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return tmp_path / "plates"


def reference(text: str) -> PathReference:
    found = parse_reference(text)
    assert isinstance(found, PathReference)
    return found


def read(roots: list[Path], text: str) -> bytes | None:
    found = open_under_roots(roots, reference(text))
    if found is None:
        return None
    with found.file:
        content = found.file.read()
    assert found.size == len(content)
    return content


def test_a_file_below_a_root_is_found_by_either_spelling(root: Path) -> None:
    for text in ("day/sky.png", "day\\sky.png", "./day/sky.png", str(root / "day" / "sky.png")):
        assert read([root], text) == b"sky"


def test_roots_are_tried_in_their_order(root: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "own.png").write_bytes(b"own")
    assert read([root, tmp_path / "more"], "own.png") == b"own"
    assert read([root, tmp_path / "gone", tmp_path / "more"], str(tmp_path / "more" / "own.png")) == b"own"


def test_a_relative_path_below_no_root_may_be_a_file_of_the_backend(root: Path) -> None:
    assert read([root], "example.png") is None
    assert read([], "day/sky.png") is None
    assert read([root], "day/sky.png/x") is None


def test_a_relative_path_into_a_folder_below_a_root_is_meant_for_it_so_a_missing_file_is_missing(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read([root], "day/sk.png")
    assert read([root], "night/sk.png") is None, "such a folder may be on the backend"


@pytest.mark.parametrize("text", ["../secret.png", "day/../../secret.png", "..\\secret.png", "day/..\\..\\secret.png"])
def test_nothing_leads_up(root: Path, text: str) -> None:
    with pytest.raises(OutsideError):
        read([root], text)


def test_absolute_paths_outside_say_the_same_whether_there_is_a_file_or_not(root: Path, tmp_path: Path) -> None:
    for outside in (tmp_path / "secret.png", tmp_path / "nothing.png", root.with_name("plates2") / "a.png", root):
        with pytest.raises(OutsideError) as told:
            read([root], str(outside))
        assert told.value.strerror == "outside the folders that files may come from"
    with pytest.raises(OutsideError):
        read([root], str(root / ".." / "secret.png"))
    with pytest.raises(OutsideError):
        read([root], "C:\\Windows\\win.ini")


def test_a_missing_file_below_a_root_is_missing(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read([root], str(root / "day" / "moon.png"))


@POSIX
def test_no_link_is_followed_below_a_root(root: Path, tmp_path: Path) -> None:
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "night").symlink_to(tmp_path)
    for text in ("link.png", "night/secret.png", "night"):
        with pytest.raises(OutsideError) as told:
            read([root], text)
        assert told.value.strerror == "a link"


@POSIX
def test_a_root_may_itself_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").symlink_to(root)
    assert read([tmp_path / "shared"], "day/sky.png") == b"sky"


@POSIX
def test_pipes_devices_and_folders_are_no_files_and_nothing_waits_for_them(root: Path) -> None:
    os.mkfifo(root / "pipe.png")
    for text in ("pipe.png", "day"):
        with pytest.raises(NotRegularError):
            read([root], text)
    with pytest.raises(NotRegularError):
        open_below(Path("/dev"), ("null",))


def test_names_that_no_system_takes_are_outside(root: Path) -> None:
    for parts in ((), ("",), ("a\x00b",), (".",), ("..",), ("a/b",), ("a\\b",), ("x",) * 65):
        with pytest.raises(OutsideError):
            open_below(root, parts)
