"""Subgraphs: ids, borders, nesting, and the values that instances hold for widgets inside them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator_mcp.errors import ManifestError, TooLargeError
from orchestrator_mcp.workflows.convert import convert
from tests.workflows.convert.drawing import (
    CATALOGUE,
    INNER,
    MIDDLE,
    Saved,
    board,
    graph_of,
    node,
    refusal_of,
    subgraph,
    with_subgraphs,
)


def sampler_inside(**more: Any) -> Saved:
    """A subgraph with a sampler whose model, seed and steps come from outside."""
    return subgraph(
        INNER,
        node(10, "Sample", [7, "fixed", 20, 8.0]),
        node(11, "Filter", [0.5], **more),
        inputs=["model:MODEL", "seed:INT", "steps:INT"],
        outputs=["LATENT:LATENT"],
        wires=[
            "in.0 > 10.model:MODEL",
            "in.1 > 10.seed:INT:widget",
            "in.2 > 10.steps:INT:widget",
            "10.0 > 11.latent:LATENT",
            "11.0 > out.0:LATENT",
        ],
    )


def around(instance: Saved, *definitions: Saved, more: tuple[Saved, ...] = (), wires: tuple[str, ...] = ()) -> Saved:
    """Load -> the instance 2 -> SaveImage."""
    drawn = board(
        node(1, "Load", ["a.safetensors"]),
        instance,
        node(3, "SaveImage", ["pic"]),
        *more,
        wires=["1.0 > 2.model:MODEL", "2.0 > 3.images:LATENT", *wires],
    )
    return with_subgraphs(drawn, *definitions)


def test_inner_nodes_have_the_ids_of_their_instances_before_theirs() -> None:
    made = graph_of(around(node(2, INNER, [42, 30]), sampler_inside()))
    assert list(made) == ["1", "2:10", "2:11", "3"]
    assert made["2:10"] == {"seed": 42, "steps": 30, "cfg": 8.0, "model": ["1", 0]}
    assert made["2:11"]["latent"] == ["2:10", 0]
    assert made["3"]["images"] == ["2:11", 0]


def test_an_instance_without_values_leaves_the_inner_ones() -> None:
    made = graph_of(around(node(2, INNER), sampler_inside()))
    assert (made["2:10"]["seed"], made["2:10"]["steps"]) == (7, 20)


def test_two_instances_hold_values_of_their_own() -> None:
    saved = around(node(2, INNER, [1, 2]), sampler_inside(), more=(node(4, INNER, [3, 4]),))
    made = graph_of(saved)
    assert [made[key]["seed"] for key in ("2:10", "4:10")] == [1, 3]


def test_a_wire_from_outside_wins_over_the_value_of_the_instance_and_that_over_the_inner_one() -> None:
    catalogue = {**CATALOGUE, "Number": {"input": {}, "output": ["INT"]}}
    saved = around(
        node(2, INNER, [1, 2]), sampler_inside(), more=(node(9, "Number"),), wires=("9.0 > 2.seed:INT:widget",)
    )
    made = graph_of(saved, catalogue)
    assert (made["2:10"]["seed"], made["2:10"]["steps"]) == (["9", 0], 2)


def test_a_muted_source_outside_leaves_the_inner_value() -> None:
    catalogue = {**CATALOGUE, "Number": {"input": {}, "output": ["INT"]}}
    saved = around(
        node(2, INNER, [1, 2]), sampler_inside(), more=(node(9, "Number", mode=2),), wires=("9.0 > 2.seed:INT:widget",)
    )
    assert graph_of(saved, catalogue)["2:10"]["seed"] == 7


@pytest.mark.parametrize("mode", [2, 4])
def test_a_muted_or_bypassed_instance_brings_none_of_its_nodes(mode: int) -> None:
    made = graph_of(around(node(2, INNER, [1, 2], mode=mode), sampler_inside()))
    assert list(made) == ["1", "3"]
    assert "images" not in made["3"]


def test_a_bypassed_node_inside_passes_on_inside() -> None:
    made = graph_of(around(node(2, INNER, [1, 2]), sampler_inside(mode=4)))
    assert made["3"]["images"] == ["2:10", 0]


def nested(mode: int = 0, values: Any = None) -> Saved:
    middle = subgraph(
        MIDDLE,
        node(20, INNER, values, mode=mode),
        inputs=["model:MODEL", "steps:INT"],
        outputs=["LATENT:LATENT"],
        wires=["in.0 > 20.model:MODEL", "in.1 > 20.steps:INT:widget", "20.0 > out.0:LATENT"],
    )
    return around(node(2, MIDDLE, [33]), sampler_inside(), middle)


def test_nested_instances_join_their_ids_and_pass_values_all_the_way_in() -> None:
    made = graph_of(nested(values=[5, 6]))
    assert list(made) == ["1", "2:20:10", "2:20:11", "3"]
    assert made["2:20:10"] == {"seed": 5, "steps": 33, "cfg": 8.0, "model": ["1", 0]}
    assert made["3"]["images"] == ["2:20:11", 0]


@pytest.mark.parametrize("mode", [2, 4])
def test_a_nested_instance_that_is_muted_or_bypassed_brings_nothing_either(mode: int) -> None:
    assert list(graph_of(nested(mode))) == ["1", "3"]


def test_a_wire_straight_through_a_subgraph_leads_to_what_is_outside() -> None:
    through = subgraph(
        INNER, inputs=["model:MODEL", "x:LATENT"], outputs=["LATENT:LATENT"], wires=["in.1 > out.0:LATENT"]
    )
    saved = around(node(2, INNER), through, more=(node(5, "Empty", [8, 8]),), wires=("5.0 > 2.x:LATENT",))
    assert graph_of(saved)["3"]["images"] == ["5", 0]


def test_one_definition_twice_in_a_row_is_no_loop() -> None:
    bend = subgraph(
        INNER,
        node(10, "Reroute"),
        inputs=["model:MODEL"],
        outputs=["MODEL:MODEL"],
        wires=["in.0 > 10.:*", "10.0 > out.0:MODEL"],
    )
    saved = around(
        node(2, INNER),
        bend,
        more=(node(4, INNER), node(5, "Filter", [1.0])),
        wires=("2.0 > 4.model:MODEL", "4.0 > 5.model:MODEL"),
    )
    assert graph_of(saved)["5"]["model"] == ["1", 0]


def test_inner_ids_that_are_taken_are_given_anew_after_the_last() -> None:
    inner = subgraph(INNER, node(1, "Empty", [8, 8]), inputs=[], outputs=["L:LATENT"], wires=["1.0 > out.0:LATENT"])
    saved = with_subgraphs(
        board(node(1, INNER), node(2, "SaveImage", ["x"]), wires=["1.0 > 2.images:LATENT"], last_node_id=40), inner
    )
    assert graph_of(saved)["2"]["images"] == ["1:41", 0]


def test_definitions_inside_of_definitions_are_found() -> None:
    outer = nested(values=[5, 6])
    inner, middle = outer["definitions"]["subgraphs"]
    outer["definitions"]["subgraphs"] = [{**middle, "definitions": {"subgraphs": [inner]}}]
    assert graph_of(outer) == graph_of(nested(values=[5, 6]))


def test_older_files_name_promoted_widgets_and_get_an_input_for_each() -> None:
    instance = node(
        2,
        INNER,
        [99, 0.25, 31, "ignored"],
        properties={"proxyWidgets": [["10", "seed"], ["11", "strength"], ["-1", "steps"], ["77", "gone"]]},
    )
    made = graph_of(around(instance, sampler_inside()))
    assert (made["2:10"]["seed"], made["2:10"]["steps"]) == (99, 31)
    assert made["2:11"]["strength"] == 0.25


def test_promoted_widgets_of_nested_instances_are_named_through_them() -> None:
    instance = node(2, MIDDLE, [1, 44], properties={"proxyWidgets": [["20", "10: seed"], ["20", "steps"]]})
    saved = nested()
    saved["nodes"][1] = {**saved["nodes"][1], **instance, "inputs": saved["nodes"][1]["inputs"]}
    made = graph_of(saved)
    assert (made["2:20:10"]["seed"], made["2:20:10"]["steps"]) == (1, 44)


def test_a_promoted_primitive_gives_its_wires_to_the_value_of_the_instance() -> None:
    inner = subgraph(
        INNER,
        node(10, "PrimitiveNode", [5, "fixed"]),
        node(11, "Empty", [8, 8]),
        inputs=["model:MODEL"],
        outputs=["L:LATENT"],
        wires=["10.0 > 11.width:INT:widget", "11.0 > out.0:LATENT"],
    )
    instance = node(2, INNER, [640], properties={"proxyWidgets": [["10", "value"]]})
    assert graph_of(around(instance, inner))["2:11"]["width"] == 640
    instance = node(2, INNER, [640, None], properties={"proxyWidgets": [["10", "value"], ["10", "other"]]})
    assert graph_of(around(instance, inner))["2:11"]["width"] == 8


def test_values_that_a_newer_page_rescued_are_found_by_the_name_of_the_input() -> None:
    entry = {"originalEntry": ["-1", "steps"], "reason": "missingSourceNode", "hostValue": 12, "attemptedAtVersion": 1}
    instance = node(2, INNER, [1, 2], properties={"proxyWidgetErrorQuarantine": [entry]})
    made = graph_of(around(instance, sampler_inside()))
    assert (made["2:10"]["seed"], made["2:10"]["steps"]) == (1, 12)


def test_a_promoted_text_is_sent_as_it_is_and_this_is_told() -> None:
    inner = subgraph(
        INNER,
        node(10, "Write", ["x"]),
        inputs=["model:MODEL", "text:STRING"],
        outputs=["C:COND"],
        wires=["in.1 > 10.text:STRING:widget", "10.0 > out.0:COND"],
    )
    made = convert(around(node(2, INNER, ["a {red|blue} cat"]), inner), CATALOGUE)
    assert made.graph["2:10"]["inputs"]["text"] == "a {red|blue} cat"
    assert "promoted" in made.warnings[0]


def test_a_subgraph_that_contains_itself_is_refused() -> None:
    looped = subgraph(INNER, node(10, INNER), inputs=[], outputs=[], wires=[])
    problem = refusal_of(with_subgraphs(board(node(1, INNER)), looped))
    assert (problem.path, problem.code) == (("workflow", "nodes", "10"), "subgraph")


@pytest.mark.parametrize("innermost", ["Load", "Note"])
def test_subgraphs_that_double_at_every_level_are_stopped(innermost: str) -> None:
    keys = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(30)]
    levels = [
        subgraph(key, node(100, inside), node(101, inside), inputs=[], outputs=[], wires=[])
        for key, inside in zip(keys, [*keys[1:], innermost], strict=True)
    ]
    with pytest.raises(TooLargeError, match="expand to more than"):
        convert(with_subgraphs(board(node(1, keys[0])), *levels), CATALOGUE)


def test_definitions_nested_without_end_are_refused() -> None:
    holder: Saved = board(node(1, "Load", ["a"]))
    for number in range(200):
        inner = subgraph(f"{number:08d}-0000-4000-8000-000000000000", inputs=[], outputs=[], wires=[])
        holder = {**holder, "definitions": {"subgraphs": [{**inner, **holder}]}}
    with pytest.raises(ManifestError, match="nested more than"):
        convert(holder, CATALOGUE)
