"""History: how a prompt ended and what it made, whatever its nodes wrote there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from orchestrator_mcp.backends.history import (
    DeclaredOutput,
    HistoryEntry,
    chosen_outputs,
    declared_outputs,
    kind_of,
    marked_in,
    parse_history,
)
from tests.backends.hostile import documents

STARTED = ["execution_start", {"prompt_id": "p", "timestamp": 1_000}]
CACHED = ["execution_cached", {"nodes": ["1", "2"], "prompt_id": "p", "timestamp": 1_001}]
SUCCEEDED = ["execution_success", {"prompt_id": "p", "timestamp": 2_000}]
INTERRUPTED = ["execution_interrupted", {"prompt_id": "p", "node_id": "3", "timestamp": 2_000}]
FAILED = [
    "execution_error",
    {"prompt_id": "p", "node_id": "4", "node_type": "SaveImage", "exception_message": "no", "timestamp": 2_000},
]


def history(outputs: Any = None, *, status: Any = None, meta: Any = None) -> dict[str, Any]:
    item = [5, "p", {"3": {}}, {"orchestrator": {"job": "j"}, "client_id": "c"}, ["3"]]
    return {"p": {"prompt": item, "outputs": outputs or {}, "status": status, "meta": meta or {}}}


def told(*messages: Any, status_str: str = "success", completed: bool = True) -> dict[str, Any]:
    return {"status_str": status_str, "completed": completed, "messages": list(messages)}


def read(document: Any) -> HistoryEntry:
    entry = parse_history(document, "p")
    assert entry is not None
    return entry


def file(name: str, place: str = "output", **more: Any) -> dict[str, Any]:
    return {"filename": name, "subfolder": "", "type": place, **more}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (told(STARTED, CACHED, SUCCEEDED), "succeeded"),
        (told(STARTED, FAILED, status_str="error", completed=False), "errored"),
        (told(STARTED, INTERRUPTED, status_str="error", completed=False), "interrupted"),
        (told(STARTED, FAILED, status_str="success"), "errored"),  # a dependency cycle
        (told(STARTED, CACHED), "succeeded"),  # before execution_success existed
        (told(STARTED, status_str="error", completed=False), "errored"),
        ({"status_str": "success", "completed": False, "messages": []}, "unclear"),
        ({"status_str": "success"}, "succeeded"),
        ({"status_str": 7, "messages": "execution_success"}, "unclear"),
        (None, "unclear"),
    ],
)
def test_the_messages_decide_how_a_prompt_ended(status: Any, verdict: str) -> None:
    assert read(history(status=status)).verdict == verdict


def test_without_any_status_all_outputs_mean_success_and_a_part_of_them_means_nothing() -> None:
    whole = history({"3": {"images": [file("a.png")]}})
    assert read(whole).verdict == "succeeded"
    whole["p"]["prompt"][4].append("8")
    assert (read(whole).verdict, read(whole).silent) == ("unclear", True)


def test_a_prompt_is_known_by_its_marker_and_the_newest_one_counts() -> None:
    entries = {f"drawn-{number}": history(status=told(STARTED, SUCCEEDED))["p"] for number in (1, 2)}
    strange = {**entries, "other": {"prompt": [9, "other", {}, {}, []]}, "odd": None}
    found = marked_in(strange, {"job": "j"})
    assert found is not None
    assert (found.prompt_id, found.verdict) == ("drawn-2", "succeeded")
    assert marked_in(strange, {"job": "k"}) is None
    with pytest.raises(ValueError, match="no history"):
        marked_in([], {"job": "j"})


def test_an_entry_tells_times_cached_nodes_expected_outputs_number_and_marker() -> None:
    entry = read(history(status=told(STARTED, CACHED, SUCCEEDED)))
    assert (entry.started_at_ms, entry.ended_at_ms) == (1_000, 2_000)
    assert entry.cached_nodes == ("1", "2")
    assert entry.expected_outputs == ("3",)
    assert entry.number == 5
    assert entry.marker == {"job": "j"}


def test_a_failure_names_its_node() -> None:
    failure = read(history(status=told(STARTED, FAILED))).failure
    assert failure is not None
    assert (failure.node_id, failure.node_type, failure.message) == ("4", "SaveImage", "no")


def test_an_empty_history_means_that_there_is_none_yet() -> None:
    assert parse_history({}, "p") is None


@pytest.mark.parametrize("document", [None, [], "p", {"detail": "Not Found"}, {"q": {}}])
def test_an_answer_that_is_no_history_does_not_pass_for_an_absent_prompt(document: object) -> None:
    with pytest.raises(ValueError, match="no history"):
        parse_history(document, "p")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"images": [file("a.png"), file("b.png")]}, [("a.png", "image"), ("b.png", "image")]),
        ({"images": [file("a.mp4")], "animated": [True]}, [("a.mp4", "video")]),
        ({"gifs": [file("a.webm", fullpath="/srv/a.webm", format="video/webm")]}, [("a.webm", "video")]),
        ({"audio": [file("a.flac")]}, [("a.flac", "audio")]),
        ({"latents": [file("a.latent")]}, [("a.latent", "file")]),
        ({"3d": [file("a.glb")]}, [("a.glb", "model")]),
        ({"anything": {"filename": "a.PNG"}}, [("a.PNG", "image")]),
        ({"nested": [[file("a.png")], [[file("b.png")]]]}, [("a.png", "image"), ("b.png", "image")]),
        (
            {"images": [None, 7, "c.png", file(""), file("x\x00.png"), {"filename": ["a"]}, file("ok.png")]},
            [("ok.png", "image")],
        ),
        ({"result": ["mesh.glb", {"camera": 1}], "seeds": [1, 2]}, []),
        ({"images": [file("a.png", subfolder=7)]}, []),
        (["images"], []),
        (None, []),
    ],
)
def test_every_list_is_walked_and_files_are_told_by_their_extension(said: Any, found: list[tuple[str, str]]) -> None:
    assert [(output.filename, output.kind) for output in declared_outputs("3", said)] == found


def test_texts_are_outputs_without_a_file() -> None:
    first, second = declared_outputs("8", {"text": ["a lighthouse\n\x1b[2Jat dusk", "a lighthouse"]})
    assert first.text == "a lighthouse\n[2Jat dusk"
    assert second.text == "a lighthouse"
    assert {first.kind, second.kind} == {"text"}
    assert first.filename == ""


def test_a_file_listed_under_two_keys_is_one_output_and_unreadable_names_are_counted() -> None:
    entry = read(history({"3": {"images": [file("a.png"), file("")], "files": [file("a.png")]}}))
    assert [output.filename for output in entry.outputs] == ["a.png"]
    assert entry.unreadable == 1


def test_an_output_of_an_expanded_node_is_laid_to_the_node_of_the_graph() -> None:
    meta = {"2.0.0.1": {"node_id": "2.0.0.1", "display_node": "2", "real_node_id": "2"}}
    (output,) = read(history({"2.0.0.1": {"images": [file("a.png")]}}, meta=meta)).outputs
    assert (output.node_id, output.source_node) == ("2", "2.0.0.1")


def names(*said: dict[str, Any]) -> list[str]:
    entry = read(history({str(place): part for place, part in enumerate(said)}))
    return [output.filename or f"text {output.text}" for output in chosen_outputs(entry)]


def test_saved_files_and_texts_are_chosen_before_temporary_ones() -> None:
    saved, temporary = {"images": [file("a.png")]}, {"images": [file("t.png", "temp")]}
    assert names(temporary, saved, {"text": ["x"]}) == ["a.png", "text x"]


def test_temporary_files_are_chosen_where_nothing_was_saved() -> None:
    assert names({"images": [file("t.png", "temp")]}, {"text": ["x"]}) == ["t.png", "text x"]


def test_an_input_that_is_shown_again_is_no_output() -> None:
    assert names({"images": [file("in.png", "input")]}) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.b.JPEG", "image"), ("dir\\a.webm", "video"), ("noext", "file"), (".png", "file"), ("a.json", "text")],
)
def test_the_kind_of_a_file_follows_its_extension(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@given(entry=documents)
def test_no_history_makes_the_reader_crash(entry: Any) -> None:
    found = parse_history({"p": entry}, "p")
    assert found is not None
    check(found)


@given(outputs=documents, status=documents, meta=documents)
def test_no_part_of_an_entry_makes_the_reader_crash(outputs: Any, status: Any, meta: Any) -> None:
    found = parse_history(history(outputs, status=status, meta=meta), "p")
    assert found is not None
    check(found)


def check(entry: HistoryEntry) -> None:
    """What is told can be stored and sent: plain types, text that encodes, names that are names."""
    for output in (*entry.outputs, *chosen_outputs(entry)):
        assert isinstance(output, DeclaredOutput)
        json.dumps([output.node_id, output.source_node, output.filename, output.text]).encode()
        "".join((output.node_id, output.filename, output.subfolder, output.key, output.text or "")).encode("utf-8")
        assert (output.text is None) == bool(output.filename)
    assert entry.verdict in ("succeeded", "errored", "interrupted", "unclear")
