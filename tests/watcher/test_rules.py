from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.rules import LOCAL, NETWORK, Look, Ripeness, Sort, pause_until_next_look, ripeness, sort_entry


@pytest.mark.parametrize("name", ["a.json", "A.JSON", "-rf.json", "a b\n.json", "東京.json", "%s.json", "a.tmp.json"])
def test_every_json_file_is_a_manifest(name: str) -> None:
    assert sort_entry(name, stat.S_IFREG) is Sort.MANIFEST


@pytest.mark.parametrize(
    "name",
    [".a.json", ".a.json.Xy12", "~a.json", "~$a.json", "a.json~", "a.json.tmp", "a.json.PART", "a.json.partial"]
    + ["a.json.crdownload", "a.json.filepart", ".a.json.swp", "a.json.lock", "Thumbs.db", "desktop.ini", ".DS_Store"]
    + ["._a.json", ".syncthing.a.json.tmp", "~syncthing~a.json.tmp", ".orch"],
)
def test_temporary_files_of_all_kinds_of_programs_pass(name: str) -> None:
    assert sort_entry(name, stat.S_IFREG) is Sort.PASSING
    assert sort_entry(name, stat.S_IFDIR) is Sort.PASSING


def test_other_kinds_of_entries_are_told_apart() -> None:
    assert sort_entry("a.json", stat.S_IFLNK) is Sort.LINK
    assert sort_entry("a.png", stat.S_IFLNK) is Sort.STRANGER
    assert sort_entry("a.json", stat.S_IFIFO) is Sort.STRANGER
    assert sort_entry("a.json.error.json", stat.S_IFREG) is Sort.STRANGER
    assert sort_entry("a.json", stat.S_IFDIR) is Sort.FOLDER
    for name in ("processed", "Failed", "rerender"):
        assert sort_entry(name, stat.S_IFDIR) is Sort.PASSING


@given(st.floats(0, 1e6), st.booleans(), st.booleans())
def test_nothing_is_touched_while_somebody_writes(unchanged: float, empty: bool, parses: bool) -> None:
    assert ripeness(Look(unchanged=unchanged, writer=True, empty=empty, parses=parses), LOCAL) is Ripeness.WAIT


@pytest.mark.parametrize(
    ("look", "patience", "decision"),
    [
        (Look(unchanged=0, writer=False, parses=True), LOCAL, Ripeness.TAKE),
        (Look(unchanged=0.9, writer=None, parses=True), LOCAL, Ripeness.WAIT),
        (Look(unchanged=1.0, writer=None, parses=True), LOCAL, Ripeness.TAKE),
        (Look(unchanged=2.9, writer=None, parses=True), NETWORK, Ripeness.WAIT),
        (Look(unchanged=3.0, writer=None, parses=True), NETWORK, Ripeness.TAKE),
        (Look(unchanged=29, writer=False), LOCAL, Ripeness.WAIT),
        (Look(unchanged=30, writer=False), LOCAL, Ripeness.REFUSE),
        (Look(unchanged=59, writer=False, empty=True), LOCAL, Ripeness.WAIT),
        (Look(unchanged=60, writer=None, empty=True), LOCAL, Ripeness.REFUSE),
    ],
)
def test_a_whole_file_is_taken_at_once_and_a_broken_one_is_given_time(
    look: Look, patience: object, decision: Ripeness
) -> None:
    assert ripeness(look, LOCAL if patience is LOCAL else NETWORK) is decision


def test_looks_are_close_together_while_a_file_is_young_and_never_rarer_than_the_interval() -> None:
    assert pause_until_next_look([], 100.0, interval=2.0) == 2.0
    assert pause_until_next_look([10.0, 100.0], 100.0, interval=2.0) == 0.05
    assert pause_until_next_look([99.0], 100.0, interval=2.0) == 0.25
    assert pause_until_next_look([10.0], 100.0, interval=2.0) == 2.0
