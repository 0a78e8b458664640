"""The structural check of graphs, and what is read from them."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.errors import ManifestError, Problem, TooLargeError
from orchestrator_mcp.workflows.graph import (
    MAX_PROBLEMS,
    ModelFile,
    check_graph,
    graph_hash,
    ignored_fields,
    model_key,
    requirements,
)

SHIPPED = Path(__file__).parents[2] / "workflows"
CARD: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}


def card(**nodes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CARD), **{name.strip("_").replace("_", ":"): node for name, node in nodes.items()}}


def problems(graph: object, **limits: int) -> list[Problem]:
    with pytest.raises(ManifestError) as caught:
        check_graph(graph, **limits)
    return list(caught.value.problems)


def only(graph: object, **limits: int) -> Problem:
    (found,) = problems(graph, **limits)
    return found


def test_the_shipped_workflows_stand_the_check() -> None:
    files = sorted(SHIPPED.glob("*.json"))
    assert [file.stem for file in files] == ["model_free_card", "my_workflow_001"]
    for file in files:
        assert check_graph(json.loads(file.read_text()))


def test_a_wrapped_graph_is_unwrapped_and_what_stands_beside_it_is_told() -> None:
    body = {"prompt": CARD, "client_id": "x", "extra_data": {}}
    assert check_graph(body) == CARD
    assert ignored_fields(body) == ["client_id", "extra_data"]
    assert ignored_fields(CARD) == []


def test_a_node_that_is_called_prompt_is_no_wrapper() -> None:
    graph = {"prompt": CARD["1"], "2": {"class_type": "PreviewImage", "inputs": {"images": ["prompt", 0]}}}
    assert check_graph(graph) == graph


def test_partial_targets_in_a_wrapper_are_not_dropped_in_silence() -> None:
    assert only({"prompt": CARD, "partial_execution_targets": ["2"]}).code == "partial"


@pytest.mark.parametrize(
    ("graph", "code"),
    [({}, "graph"), ([], "graph"), (None, "graph"), ("{}", "graph"), ({"prompt": {}}, "graph")],
)
def test_what_is_no_object_of_nodes_is_refused(graph: object, code: str) -> None:
    assert only(graph).code == code


@pytest.mark.parametrize("wrap", [False, True])
def test_ui_format_is_recognised_and_the_mend_is_named(wrap: bool) -> None:
    saved = {"last_node_id": 1, "nodes": [{"id": 1, "type": "SaveImage"}], "links": [], "version": 0.4}
    with pytest.raises(ManifestError, match="Export \\(API\\)") as caught:
        check_graph({"prompt": saved} if wrap else saved)
    assert caught.value.problems[0].code == "ui_format"


@pytest.mark.parametrize(
    ("node", "path", "code"),
    [
        ([], ("workflow", "9"), "node"),
        (None, ("workflow", "9"), "node"),
        ({"inputs": {}}, ("workflow", "9", "class_type"), "class_type"),
        ({"class_type": 7, "inputs": {}}, ("workflow", "9", "class_type"), "class_type"),
        ({"class_type": " ", "inputs": {}}, ("workflow", "9", "class_type"), "class_type"),
        ({"class_type": "X"}, ("workflow", "9", "inputs"), "inputs"),
        ({"class_type": "X", "inputs": []}, ("workflow", "9", "inputs"), "inputs"),
        ({"class_type": "X", "inputs": {"a": float("nan")}}, ("workflow", "9", "inputs", "a"), "number"),
        ({"class_type": "X", "inputs": {"a": float("-inf")}}, ("workflow", "9", "inputs", "a"), "number"),
        ({"class_type": "X", "inputs": {"a": 2**64}}, ("workflow", "9", "inputs", "a"), "number"),
        ({"class_type": "X", "inputs": {"a": "\ud800"}}, ("workflow", "9", "inputs", "a"), "text"),
        ({"class_type": "X", "inputs": {"a": [["x\x00"]]}}, ("workflow", "9", "inputs", "a", 0, 0), "text"),
        ({"class_type": "X", "inputs": {"\x00": 1}}, ("workflow", "9", "inputs"), "text"),
        ({"class_type": "X\x00", "inputs": {}}, ("workflow", "9", "class_type"), "text"),
        ({"class_type": "X", "inputs": {"a": ["99", 0]}}, ("workflow", "9", "inputs", "a"), "link"),
        ({"class_type": "X", "inputs": {"a": ["1", -1]}}, ("workflow", "9", "inputs", "a"), "link"),
        ({"class_type": "X", "inputs": {"a": ["9", 0]}}, ("workflow", "9"), "cycle"),
    ],
)
def test_each_fault_of_a_node_nobody_reaches_has_its_path_and_code(
    node: object, path: tuple[str | int, ...], code: str
) -> None:
    found = only(card(_9=node))
    assert (found.path, found.code) == (path, code)
    assert found.message


@pytest.mark.parametrize("value", [[1, 0], ["1", 0.0], ["1", False]])
def test_a_near_link_is_refused_with_the_link_that_was_meant(value: list[Any]) -> None:
    graph = card(_9={"class_type": "SaveImage", "inputs": {"images": value}})
    assert '["1", 0]' in only(graph).message


@pytest.mark.parametrize(
    "value", [[], ["1"], ["1", 0, 0], [512, 512], ["a", "b"], [["1", 0]], [1.0, 0], {"x": ["1", 0]}]
)
def test_other_lists_are_values(value: object) -> None:
    graph = card(_9={"class_type": "X", "inputs": {"a": value}})
    assert check_graph(graph) == graph


def test_every_fault_is_told_at_once() -> None:
    graph = card(_7={"class_type": "X"}, _8=3, _9={"inputs": {}})
    assert [(problem.path[1], problem.code) for problem in problems(graph)] == [
        ("7", "inputs"),
        ("8", "node"),
        ("9", "class_type"),
    ]


def test_a_graph_that_is_wrong_everywhere_has_a_readable_number_of_problems() -> None:
    assert len(problems({str(number): 1 for number in range(1000)})) == MAX_PROBLEMS


@pytest.mark.parametrize("node", ["", "x" * 201, 4])
def test_an_unusable_node_id_is_refused(node: object) -> None:
    graph: dict[Any, Any] = {**CARD, node: CARD["1"]}
    assert only(graph).code == "node_id"


def test_ids_of_nodes_inside_subgraphs_are_fine() -> None:
    assert check_graph(card(_12_3=CARD["1"]))


def test_two_inputs_of_one_spelling_are_refused() -> None:
    graph = {"a": {"class_type": "X", "inputs": {"b.c": 1}}, "a.b": {"class_type": "X", "inputs": {"c": 1}}}
    assert "take dots out" in only(graph).message


def test_a_cycle_is_told_with_its_way() -> None:
    graph = card(
        _7={"class_type": "X", "inputs": {"a": ["8", 0]}},
        _8={"class_type": "X", "inputs": {"a": ["9", 0]}},
        _9={"class_type": "X", "inputs": {"a": ["7", 0], "b": ["1", 0]}},
    )
    found = only(graph)
    assert found.code == "cycle"
    assert {"7", "8", "9"} <= set(found.message.replace(":", "").split())


def test_two_cycles_are_two_problems() -> None:
    own = {name: {"class_type": "X", "inputs": {"a": [name, 0]}} for name in ("7", "8")}
    assert {problem.path[1] for problem in problems({**CARD, **own})} == {"7", "8"}


def test_a_chain_of_ten_thousand_nodes_is_no_cycle_and_no_recursion() -> None:
    graph = {
        str(number): {"class_type": "X", "inputs": {"a": [str(number - 1), 0]} if number else {}}
        for number in range(10_000)
    }
    assert check_graph(graph)
    assert model_key(graph) == ""


def test_too_many_nodes_are_refused_by_count() -> None:
    with pytest.raises(TooLargeError, match="2 nodes; at most 1 .*raise limits.graph_nodes"):
        check_graph(CARD, max_nodes=1)


def test_depth_counts_from_the_graph_itself() -> None:
    graph = card(_9={"class_type": "X", "inputs": {"a": [[[]]]}})
    assert check_graph(graph, max_depth=6)
    assert only(graph, max_depth=5).code == "depth"


@pytest.mark.parametrize("name", ["../x.ckpt", "/x.ckpt", "C:x.ckpt", "\\\\nas\\x.ckpt", "a/../x.ckpt", "a\\.."])
def test_a_loader_cannot_be_sent_out_of_its_folder(name: str) -> None:
    graph = card(_9={"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}})
    assert only(graph).code == "path"


@pytest.mark.parametrize("name", ["x.ckpt", "SDXL\\x.ckpt", "SDXL/x.ckpt", "a..b.ckpt", "x..", ""])
def test_model_names_in_folders_are_fine(name: str) -> None:
    assert check_graph(card(_9={"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}))


def test_equal_graphs_hash_alike_and_others_do_not() -> None:
    turned = {node: {key: CARD[node][key] for key in ("inputs", "class_type")} for node in ("2", "1")}
    other = card()
    other["1"]["inputs"]["width"] = 65
    assert graph_hash(turned) == graph_hash(CARD)
    assert graph_hash(other) != graph_hash(CARD)
    assert len(graph_hash({"é": {"class_type": "é", "inputs": {}}})) == 64


def lora_chain(first: str = "4", ending: str = "") -> dict[str, Any]:
    return {
        "30": {"class_type": "KSampler", "inputs": {"model": ["20", 0], "sampler_name": "euler"}},
        "20": {"class_type": "LoraLoader", "inputs": {"model": ["10", 0], "lora_name": f"b{ending}", "strength": 1}},
        "10": {"class_type": "LoraLoader", "inputs": {"model": [first, 0], "lora_name": f"sub\\a{ending}"}},
        first: {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}},
    }


def test_requirements_name_classes_and_model_files() -> None:
    graph = lora_chain()
    graph["5"] = {"class_type": "UpscaleThing", "inputs": {"weights": "4x.PTH", "text": "x.bin", "vae_name": "None"}}
    needed = requirements(graph)
    assert needed.node_classes == {"KSampler", "LoraLoader", "CheckpointLoaderSimple", "UpscaleThing"}
    assert needed.models == {
        ModelFile(class_type="CheckpointLoaderSimple", input="ckpt_name", name="sd.safetensors"),
        ModelFile(class_type="LoraLoader", input="lora_name", name="sub/a"),
        ModelFile(class_type="LoraLoader", input="lora_name", name="b"),
        ModelFile(class_type="UpscaleThing", input="weights", name="4x.PTH"),
    }


def test_the_model_key_follows_loading_and_not_the_way_of_writing() -> None:
    graph = lora_chain()
    nodes = list(graph.items())
    random.Random(7).shuffle(nodes)
    renamed = json.loads(json.dumps(lora_chain(first="99")).replace("sub\\\\a", "sub/a"))
    assert model_key(graph) == "sd.safetensors + sub/a + b"
    assert model_key(dict(nodes)) == model_key(renamed) == model_key(graph)
    assert model_key(CARD) == ""


def test_a_long_model_key_stays_short_and_tells_apart() -> None:
    one, two = model_key(lora_chain(ending="x" * 300)), model_key(lora_chain(ending="x" * 299 + "y"))
    assert len(one) <= 200
    assert one != two
    assert one.startswith("sd.safetensors")
