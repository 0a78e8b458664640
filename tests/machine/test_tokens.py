"""The token of a server that others can reach."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.machine.tokens import TOKEN_NAME, load_token


def test_the_first_start_makes_a_token_and_every_later_one_finds_it(tmp_path: Path) -> None:
    token, path, made = load_token(tmp_path)
    assert (made, path) == (True, tmp_path / TOKEN_NAME)
    assert len(token) >= 43, "256 bits, as 43 characters"
    assert load_token(tmp_path) == (token, path, False)


def test_two_data_dirs_have_two_tokens(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.mkdir()
    other.mkdir()
    assert load_token(one)[0] != load_token(other)[0]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
@pytest.mark.parametrize("left_behind", [False, True], ids=["no file", "an empty file that all may read"])
def test_only_the_owner_may_read_the_token(tmp_path: Path, left_behind: bool) -> None:
    if left_behind:
        (tmp_path / TOKEN_NAME).touch()
        (tmp_path / TOKEN_NAME).chmod(0o666)
    before = os.umask(0)
    try:
        _, path, made = load_token(tmp_path)
    finally:
        os.umask(before)
    assert made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_that_somebody_wrote_by_hand_is_taken_without_the_space_around_it(tmp_path: Path) -> None:
    (tmp_path / TOKEN_NAME).write_text("  my-own-token\r\n", encoding="ascii")
    assert load_token(tmp_path) == ("my-own-token", tmp_path / TOKEN_NAME, False)


def test_a_token_file_that_cannot_be_read_stops_the_start_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / TOKEN_NAME).mkdir()
    with pytest.raises(StartError, match=r"cannot be used: .*Check its owner"):
        load_token(tmp_path)


def test_a_token_file_with_other_bytes_stops_the_start_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / TOKEN_NAME).write_bytes(b"abc\xff\xfe")
    with pytest.raises(StartError, match="byte 3 is not ASCII"):
        load_token(tmp_path)


def test_a_data_dir_that_is_not_there_stops_the_start_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be used"):
        load_token(tmp_path / "gone")
