"""What is refused, where, and that no document of any shape does harm."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.errors import CallerError, ManifestError
from orchestrator_mcp.workflows.convert import convert, is_api, looks_like_ui
from orchestrator_mcp.workflows.graph import check_graph
from tests.workflows.convert.drawing import (
    CATALOGUE,
    INNER,
    Saved,
    board,
    chain,
    define,
    node,
    refusal_of,
    with_subgraphs,
)
from tests.workflows.convert.test_subgraphs import around, nested, sampler_inside
from tests.workflows.graphs import STEADY


def test_each_node_that_cannot_be_converted_is_named_with_its_reason() -> None:
    saved = board(node(1, "Lode"), node(2, "workflow/Old Group"), node(3, "Seed Everywhere"), node(4, "Load", ["a"]))
    with pytest.raises(ManifestError) as caught:
        convert(saved, CATALOGUE)
    found = {problem.path: problem.code for problem in caught.value.problems}
    assert found == {
        ("workflow", "nodes", "1"): "unknown_class",
        ("workflow", "nodes", "2"): "group_node",
        ("workflow", "nodes", "3"): "js_only",
    }
    assert "near: Load" in str(caught.value)


@pytest.mark.parametrize("mode", [2, 4])
def test_what_is_muted_or_bypassed_may_be_of_any_class(mode: int) -> None:
    saved = board(
        node(1, "Empty", [8, 8]),
        node(2, "No Such Class", mode=mode),
        node(3, "Filter", [1.0]),
        wires=["1.0 > 2.latent:LATENT", "2.0 > 3.latent:LATENT"],
    )
    made = convert(saved, CATALOGUE).graph["3"]["inputs"].get("latent")
    assert made == (["1", 0] if mode == 4 else None)


def test_unknown_classes_inside_a_subgraph_have_the_id_of_the_graph() -> None:
    inner = sampler_inside()
    inner["nodes"][1]["type"] = "No Such Class"
    assert refusal_of(around(node(2, INNER), inner)).path == ("workflow", "nodes", "2:11")


@pytest.mark.parametrize(
    ("kind", "values", "definition"),
    [
        ("Load3D", ["m.glb", ""], define({"model_file": [["m.glb"]], "image": ["LOAD_3D", {}]})),
        ("WebcamCapture", [None, 1], define({"image": ["WEBCAM", {}], "width": ["INT", {}]})),
        ("Power Lora Loader (rgthree)", [{"on": True, "lora": "x"}], define({})),
        ("Seed (rgthree)", [-1], define({"seed": ["INT", {"control_after_generate": False}]})),
        ("Anything Everywhere", [], define({})),
    ],
)
def test_what_only_the_page_can_do_is_refused(kind: str, values: list[Any], definition: Saved) -> None:
    problem = refusal_of(board(node(5, kind, values)), {kind: definition})
    assert (problem.path, problem.code) == (("workflow", "nodes", "5"), "js_only")


def test_a_seed_that_is_written_out_is_no_reason_to_refuse() -> None:
    catalogue = {"Seed (rgthree)": define({"seed": ["INT", {"control_after_generate": False}]})}
    assert convert(board(node(5, "Seed (rgthree)", [7])), catalogue).graph["5"]["inputs"] == {"seed": 7}


def test_two_nodes_of_one_id_are_refused() -> None:
    assert refusal_of(board(node(1, "Load", ["a"]), node(1, "Load", ["b"]))).code == "node_id"


def test_a_workflow_of_notes_has_nothing_to_run() -> None:
    assert refusal_of(board(node(1, "Note", ["x"]))).code == "graph"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"nodes": {}},
        {"nodes": [None]},
        {"nodes": [{"id": 1}]},
        {"nodes": [{"id": True, "type": "Load"}]},
        {"nodes": [{"id": 1, "type": "Load", "inputs": {}}]},
        {"nodes": [{"id": 1, "type": "Load", "widgets_values": 3}]},
        {"nodes": [], "links": [[1, 2]]},
        {"nodes": [], "links": [[1, 2, -7, 3, 4]]},
        {"nodes": [], "links": "x"},
        {"nodes": [], "definitions": {"subgraphs": [{}]}},
        {"nodes": [{"id": "x" * 200, "type": "Load"}]},
    ],
)
def test_what_is_not_shaped_like_a_workflow_is_refused_in_words(document: object) -> None:
    problem = refusal_of(document)
    assert problem.code == "ui_format"
    assert problem.path[0] == "workflow"


def test_documents_are_told_apart() -> None:
    graph = convert(chain(), CATALOGUE).graph
    assert looks_like_ui(chain())
    assert not is_api(chain())
    assert is_api(graph)
    assert is_api({"prompt": graph})
    assert not looks_like_ui(graph)
    others: list[object] = [{}, [], None, {"1": {}}, {"prompt": 1}, "x"]
    assert not any(is_api(each) or looks_like_ui(each) for each in others)


MODES = st.sampled_from([0, 2, 4])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@STEADY
@given(modes=st.lists(MODES, min_size=5, max_size=5), inner=st.lists(MODES, min_size=2, max_size=2), host=MODES)
def test_whatever_is_muted_or_bypassed_no_wire_is_left_dangling(modes: list[int], inner: list[int], host: int) -> None:
    saved = copy.deepcopy(nested(host, [1, 2]))
    for each, mode in zip(saved["definitions"]["subgraphs"][0]["nodes"], inner, strict=True):
        each["mode"] = mode
    for each, mode in zip(saved["nodes"], modes, strict=False):
        each["mode"] = mode
    try:
        graph = convert(saved, CATALOGUE).graph
    except ManifestError as error:
        assert [problem.code for problem in error.problems] == ["graph"]  # nothing at all is left to run
        return
    check_graph(graph)


@STEADY
@given(
    wires=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1), st.integers(1, 5)), max_size=12),
    modes=st.lists(MODES, min_size=5, max_size=5),
)
def test_any_wires_give_a_graph_without_dangling_ones_or_a_reason(
    wires: list[tuple[int, int, int]], modes: list[int]
) -> None:
    kinds = ["Load", "Sample", "Reroute", "Filter", "SetNode"]
    drawn = [node(key, kind, ["n"], mode=mode) for key, (kind, mode) in enumerate(zip(kinds, modes, strict=True), 1)]
    saved = board(*drawn, wires=[f"{a}.{slot} > {b}.in{number}:LATENT" for number, (a, slot, b) in enumerate(wires)])
    try:
        graph = convert(saved, CATALOGUE).graph
    except ManifestError as error:
        assert {problem.code for problem in error.problems} <= {"graph", "loop"}
        return
    for content in graph.values():
        assert all(value[0] in graph for value in content["inputs"].values() if isinstance(value, list))


@STEADY
@given(place=st.lists(st.integers(0, 30), min_size=1, max_size=6), junk=JUNK)
def test_junk_anywhere_in_a_file_is_converted_or_refused_and_never_a_crash(place: list[int], junk: Any) -> None:
    saved: Any = copy.deepcopy(with_subgraphs(nested(0, [1, 2]), *nested()["definitions"]["subgraphs"]))
    here = saved
    for number in place:
        keys: list[Any] = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = keys[number % len(keys)]
        if not isinstance(here[key], dict | list) or not here[key] or number == place[-1]:
            here[key] = junk
            break
        here = here[key]
    try:
        check_graph(convert(saved, CATALOGUE).graph)
    except CallerError as error:
        assert str(error)


@STEADY
@given(catalogue=st.dictionaries(st.sampled_from(sorted(CATALOGUE)), JUNK, max_size=4))
def test_a_backend_that_answers_junk_does_no_harm(catalogue: dict[str, Any]) -> None:
    try:
        convert(chain(), {**CATALOGUE, **catalogue})
    except CallerError as error:
        assert str(error)


@STEADY
@given(inputs=JUNK, options=JUNK)
def test_a_definition_full_of_junk_does_no_harm(inputs: Any, options: Any) -> None:
    junk = {
        "input": {"required": {"a": ["INT", options], "b": [options], "c": ["COMFY_DYNAMICCOMBO_V3", options]}},
        "input_order": inputs,
        "output": inputs,
    }
    growing = {"template": options}
    junk["input"]["optional"] = {"d": ["COMFY_AUTOGROW_V3", growing], "e": inputs}
    try:
        convert(chain(), {**CATALOGUE, "Load": junk})
    except CallerError as error:
        assert str(error)
