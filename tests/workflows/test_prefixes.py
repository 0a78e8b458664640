"""Where outputs go: each job has its own place, and no prefix leads out of it."""

from __future__ import annotations

import copy
import ntpath
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.workflows.prefixes import display_stem, isolate_outputs, linked_prefixes
from tests.workflows.graphs import STEADY, node, text_to_image

JOB = "0199b7a2-0000-7000-8000-00000000abcd"


def saved(prefix: Any, name: str = "9") -> dict[str, Any]:
    return {name: node("SaveImage", filename_prefix=prefix, images=["8", 0])}


def prefix_of(prefix: Any, name: str = "9", attempt: int = 1) -> str:
    made: str = isolate_outputs(saved(prefix, name), JOB, attempt)[name]["inputs"]["filename_prefix"]
    return made


def test_each_output_gets_the_jobs_own_place_and_nothing_else_changes() -> None:
    graph = text_to_image(_20=node("SaveAnimatedWEBP", filename_prefix="shots/anim", images=["8", 0], fps=6.0))
    before = copy.deepcopy(graph)
    after = isolate_outputs(graph, JOB)
    assert graph == before
    assert after["9"]["inputs"].pop("filename_prefix") == f"orch/{JOB}/9/ComfyUI"
    assert after["20"]["inputs"].pop("filename_prefix") == f"orch/{JOB}/20/anim"
    for place in ("9", "20"):
        before[place]["inputs"].pop("filename_prefix")
    assert after == before


def test_another_attempt_and_another_job_have_other_places() -> None:
    places = {
        prefix_of("x"),
        prefix_of("x", attempt=2),
        isolate_outputs(saved("x"), "other")["9"]["inputs"]["filename_prefix"],
    }
    assert len(places) == 3


@pytest.mark.parametrize(
    ("prefix", "stem"),
    [
        ("ComfyUI", "ComfyUI"),
        ("a/b/shot", "shot"),
        ("a\\b\\shot", "shot"),
        ("folder/", "folder"),
        ("../../escape", "escape"),
        ("..", "SaveImage"),
        ("", "SaveImage"),
        ("/etc/passwd", "passwd"),
        ("C:\\x\\shot", "shot"),
        ("C:shot", "shot"),
        ("\\\\nas\\share\\shot", "shot"),
        ("%date:yyyy-MM-dd%/%KSampler.seed%_shot", "_shot"),
        ("%year%", "SaveImage"),
        ("%date:yyyy/MM/dd%", "SaveImage"),
        ("50%", "50"),
        ("shot\x00.png", "shot_.png"),
        ("shot:stream", "shot_stream"),
        (".hidden", "hidden"),
        ("CON", "_CON"),
    ],
)
def test_the_last_part_of_the_old_prefix_survives_and_its_tricks_do_not(prefix: str, stem: str) -> None:
    assert prefix_of(prefix) == f"orch/{JOB}/9/{stem}"
    assert display_stem(saved(prefix), "9") == stem


@STEADY
@given(st.text(max_size=80) | st.text("./\\%:CON aé\x00\n~$", max_size=40), st.text(min_size=1, max_size=60))
def test_no_prefix_and_no_node_id_leads_out_of_the_jobs_place(prefix: str, name: str) -> None:
    graph = {name: node("SaveImage", filename_prefix=prefix)}
    made = isolate_outputs(graph, JOB)[name]["inputs"]["filename_prefix"]
    folder, job, place, stem = made.split("/")
    assert (folder, job) == ("orch", JOB)
    assert posixpath.normpath(made) == made
    assert ntpath.normpath(made).replace("\\", "/") == made
    assert not ntpath.isabs(made)
    assert not set('%:\\\x00\n"<>|?*') & set(made)
    assert 1 <= len(stem.encode()) <= 60
    assert place


@STEADY
@given(st.lists(st.text("aAbB19:._-/ ", min_size=1, max_size=6), min_size=2, max_size=8, unique=True))
def test_different_nodes_have_different_places_even_where_case_does_not_count(names: list[str]) -> None:
    graph = {name: node("SaveImage", filename_prefix="x") for name in names}
    made = isolate_outputs(graph, JOB)
    assert len({made[name]["inputs"]["filename_prefix"].casefold() for name in names}) == len(names)


def test_a_prefix_that_another_node_makes_stays_and_is_named() -> None:
    graph = {**saved(["1", 0]), "1": node("PrimitiveString", value="x"), **saved("x", "10")}
    assert isolate_outputs(graph, JOB)["9"] == graph["9"]
    assert linked_prefixes(graph) == ["9"]
    assert display_stem(graph, "9") == "SaveImage"


@pytest.mark.parametrize("prefix", [5, None, ["a", "b"], True])
def test_a_prefix_that_is_no_text_is_left_to_the_backend(prefix: object) -> None:
    assert prefix_of(prefix) == prefix
