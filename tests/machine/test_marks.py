"""What was posted is known to the next process of the same boot."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.machine.marks import MARKS_NAME, RECORD, Marks, MarksLeft, boot_id

BOOT = "11111111-2222-3333-4444-555555555555"


def marks_in(folder: Path, *, boot: str | None = BOOT) -> Marks:
    return Marks(folder / MARKS_NAME, host="here", boot=boot)


def begun(folder: Path, prompts: Sequence[str] = ()) -> Marks:
    marks = marks_in(folder)
    marks.begin(prompts)
    return marks


def left_in(folder: Path) -> MarksLeft:
    left = marks_in(folder).left()
    assert left is not None
    return left


def prompt_ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def test_what_was_claimed_and_not_marked_was_never_sent(tmp_path: Path) -> None:
    marks, (sent, carried, unsent) = marks_in(tmp_path), prompt_ids(3)
    marks.begin([carried])
    marks.set(sent)
    left = left_in(tmp_path)
    assert left.never_sent(dict.fromkeys((sent, carried, unsent), marks.owner)) == {unsent}
    marks.close()


def test_of_what_somebody_else_claimed_nobody_can_tell(tmp_path: Path) -> None:
    marks, other = begun(tmp_path), marks_in(tmp_path)
    first, second = prompt_ids(2)
    assert left_in(tmp_path).never_sent({first: other.owner, second: None}) == set()
    marks.close()


def test_every_life_has_a_name_of_its_own(tmp_path: Path) -> None:
    assert marks_in(tmp_path).owner != marks_in(tmp_path).owner


def test_marks_of_another_boot_tell_nothing(tmp_path: Path) -> None:
    begun(tmp_path).close()
    assert marks_in(tmp_path, boot=str(uuid4())).left() is None


def test_where_nobody_can_tell_the_boot_nothing_is_written(tmp_path: Path) -> None:
    marks = marks_in(tmp_path, boot=None)
    marks.begin(prompt_ids(1))
    marks.set(prompt_ids(1)[0])
    assert marks.left() is None
    assert list(tmp_path.iterdir()) == []


def test_the_first_start_finds_nothing(tmp_path: Path) -> None:
    assert marks_in(tmp_path).left() is None


@pytest.mark.parametrize(
    "harmed",
    [
        lambda good: b"",
        lambda good: good[:-1],
        lambda good: good[:-RECORD] + b"x" * RECORD,
        lambda good: good[:-RECORD] + b"\xff" * RECORD,
        lambda good: good.partition(b"\n")[2],
        lambda good: good.partition(b"\n")[0] + b"\n",
        lambda good: b"\xff" + good,
    ],
    ids=["empty", "cut off", "no prompts", "no text", "no boot", "no owner", "no words"],
)
def test_a_damaged_file_tells_nothing(tmp_path: Path, harmed: object) -> None:
    begun(tmp_path, prompt_ids(2)).close()
    file = tmp_path / MARKS_NAME
    assert callable(harmed)
    file.write_bytes(harmed(file.read_bytes()))
    assert marks_in(tmp_path).left() is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_what_is_open_is_known_and_the_file_is_no_larger_than_the_most_that_was(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[bool, int]]
) -> None:
    folder, prompts = tmp_path_factory.mktemp("marks"), [str(UUID(int=number)) for number in range(10)]
    marks, marked, most = begun(folder), set[str](), 0
    empty = (folder / MARKS_NAME).stat().st_size
    for sets, number in deeds:
        if sets:
            marks.set(prompts[number])
            marked.add(prompts[number])
        else:
            marks.clear(prompts[number])
            marked.discard(prompts[number])
        most = max(most, len(marked))
        assert left_in(folder).prompts >= marked
    assert (folder / MARKS_NAME).stat().st_size == empty + most * RECORD
    marks.close()


def test_a_file_that_cannot_be_begun_only_means_that_nobody_will_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path).close()
    marks = Marks(tmp_path / "gone" / MARKS_NAME, host="here", boot=BOOT)
    marks.begin([])
    marks.set(prompt_ids(1)[0])
    assert "nobody will know what was sent" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes there")
def test_what_cannot_be_marked_must_not_be_posted(tmp_path: Path) -> None:
    marks = begun(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / MARKS_NAME).stat().st_size, before[1]))
    first, second = prompt_ids(2)
    try:
        with pytest.raises(StorageError, match=os.strerror(errno.EFBIG)):
            marks.set(first)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    marks.set(first)
    marks.set(second)
    assert left_in(tmp_path).prompts == {first, second}
    marks.close()


@pytest.mark.skipif(boot_id() is None, reason="nothing is marked on this system")
def test_a_mark_outlives_a_process_that_is_killed_at_once(tmp_path: Path) -> None:
    (prompt,) = prompt_ids(1)
    program = (
        "import os, signal, sys; from pathlib import Path; from orchestrator_mcp.machine.marks import Marks, boot_id\n"
        "marks = Marks(Path(sys.argv[1]), host='here', boot=boot_id()); marks.begin([]); marks.set(sys.argv[2])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / MARKS_NAME), prompt], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    left = marks_in(tmp_path, boot=boot_id()).left()
    assert left is not None and left.prompts == {prompt}
