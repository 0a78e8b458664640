"""Where wires lead: past muted, bypassed and virtual nodes."""

from __future__ import annotations

import pytest

from orchestrator_mcp.errors import TooLargeError
from orchestrator_mcp.workflows.convert import convert
from tests.workflows.convert.drawing import CATALOGUE, board, chain, define, graph_of, inputs_of, node, refusal_of


def test_a_plain_chain_becomes_a_graph_with_ids_as_text() -> None:
    assert graph_of(chain()) == {
        "1": {"file": "a.safetensors"},
        "2": {"width": 640, "height": 480},
        "3": {"seed": 7, "steps": 25, "cfg": 6.5, "model": ["1", 0], "latent": ["2", 0]},
        "4": {"strength": 0.5, "latent": ["3", 0], "model": ["1", 0]},
        "5": {"filename_prefix": "pic", "images": ["4", 0]},
    }


def test_links_as_objects_mean_the_same() -> None:
    saved = chain()
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    newer = {**saved, "version": 1, "links": [dict(zip(names, link, strict=True)) for link in saved["links"]]}
    assert graph_of(newer) == graph_of(saved)


def test_a_muted_node_leaves_nothing_and_no_wire_to_it() -> None:
    made = graph_of(chain(mode=2))
    assert "4" not in made
    assert made["5"] == {"filename_prefix": "pic"}


def test_a_bypassed_node_passes_on_the_input_of_the_same_type() -> None:
    made = graph_of(chain(mode=4))
    assert "4" not in made
    assert made["5"]["images"] == ["3", 0]


def test_a_bypassed_node_passes_on_by_type_and_not_by_place() -> None:
    catalogue = {**CATALOGUE, "Filter": define({"model": ["MODEL"], "latent": ["LATENT"]}, ["LATENT"])}
    assert graph_of(chain(mode=4), catalogue)["5"]["images"] == ["3", 0]


def test_a_bypassed_node_without_a_fitting_input_passes_on_nothing() -> None:
    catalogue = {**CATALOGUE, "Filter": define({"model": ["MODEL"]}, ["LATENT"])}
    saved = chain(mode=4)
    saved["nodes"][3]["inputs"] = [each for each in saved["nodes"][3]["inputs"] if each["name"] == "model"]
    saved["links"] = [link for link in saved["links"] if link[0] != 3]
    assert "images" not in graph_of(saved, catalogue)["5"]


def test_the_wire_wins_over_the_value_of_a_converted_widget_and_the_value_still_takes_its_place() -> None:
    catalogue = {**CATALOGUE, "Number": define({}, ["INT"])}
    saved = board(
        node(1, "Number"), node(2, "Empty", [640, 480]), node(3, "Empty", [1, 2]), wires=["1.0 > 2.width:INT:widget"]
    )
    assert inputs_of(saved, "2", catalogue) == {"width": ["1", 0], "height": 480}


def test_reroutes_are_followed_through_any_number_and_thousands_of_them() -> None:
    bends = [node(key, "Reroute") for key in range(10, 1_500)]
    wires = ["1.0 > 10.:*", *(f"{key}.0 > {key + 1}.:*" for key in range(10, 1_499)), "1499.0 > 4.latent:LATENT"]
    saved = board(node(1, "Empty", [8, 8]), *bends, node(4, "Filter", [1.0]), wires=wires)
    assert inputs_of(saved, "4")["latent"] == ["1", 0]


def test_thousands_of_inputs_behind_thousands_of_bends_are_stopped() -> None:
    bends = [node(key, "Reroute") for key in range(10, 1_500)]
    ends = [node(key, "Filter", [1.0]) for key in range(5_000, 5_400)]
    wires = ["1.0 > 10.:*", *(f"{key}.0 > {key + 1}.:*" for key in range(10, 1_499))]
    wires += [f"1499.0 > {key}.latent:LATENT" for key in range(5_000, 5_400)]
    with pytest.raises(TooLargeError, match="too many bends"):
        convert(board(node(1, "Empty", [8, 8]), *bends, *ends, wires=wires), CATALOGUE)


def test_native_reroutes_are_drawings_only() -> None:
    saved = chain()
    saved["extra"] = {
        "reroutes": [{"id": 1, "pos": [0, 0], "linkIds": [1]}],
        "linkExtensions": [{"id": 1, "parentId": 1}],
    }
    assert graph_of(saved) == graph_of(chain())


def test_wires_in_a_circle_are_refused() -> None:
    saved = board(
        node(1, "Reroute"),
        node(2, "Reroute"),
        node(3, "Filter", [1.0]),
        wires=["1.0 > 2.:*", "2.0 > 1.:*", "1.0 > 3.latent:LATENT"],
    )
    problem = refusal_of(saved)
    assert (problem.path, problem.code) == (("workflow", "nodes", "3"), "loop")


def test_a_primitive_pushes_its_value_into_every_widget_and_disappears() -> None:
    saved = board(
        node(1, "PrimitiveNode", [1024, "fixed"], outputs=[{"name": "INT", "type": "INT"}]),
        node(2, "Empty", [640, 480]),
        node(3, "Empty", [640, 480]),
        wires=["1.0 > 2.width:INT:widget", "1.0 > 3.height:INT:widget"],
    )
    assert graph_of(saved) == {"2": {"width": 1024, "height": 480}, "3": {"width": 640, "height": 1024}}


def test_a_number_widget_takes_what_a_primitive_pushes_on_its_steps_and_within_its_limits() -> None:
    saved = board(
        node(1, "PrimitiveNode", [1003, "fixed"]),
        node(2, "Empty", [640, 480]),
        node(3, "PrimitiveNode", [250.123456, "fixed"]),
        node(4, "Sample", [1, "fixed", 20, 8.0]),
        wires=["1.0 > 2.width:INT:widget", "3.0 > 4.cfg:FLOAT:widget"],
    )
    made = graph_of(saved)
    assert made["2"]["width"] == 1000
    assert made["4"]["cfg"] == 100


def test_numbers_without_measure_do_no_harm_to_a_primitive() -> None:
    saved = board(
        node(1, "PrimitiveNode", [1e308, "fixed"]),
        node(2, "Sample", [1, "fixed", 20, 8.0]),
        wires=["1.0 > 2.cfg:FLOAT:widget", "1.0 > 2.steps:INT:widget"],
    )
    assert inputs_of(saved, "2")["cfg"] <= 1e308


def test_a_primitive_of_another_type_holds_what_its_first_target_holds() -> None:
    saved = board(
        node(1, "PrimitiveNode", ["euler"], outputs=[{"name": "COMBO", "type": "COMBO"}]),
        node(2, "Empty", [640, 480]),
        node(3, "Empty", [8, 16]),
        wires=["1.0 > 2.width:INT:widget", "1.0 > 3.height:INT:widget"],
    )
    saved["nodes"][0]["outputs"][0]["type"] = "COMBO"
    assert graph_of(saved) == {"2": {"width": 640, "height": 480}, "3": {"width": 8, "height": 640}}


def test_a_primitive_that_replaces_names_in_its_value_is_refused() -> None:
    saved = board(
        node(1, "PrimitiveNode", ["%Load.file%"], properties={"Run widget replace on values": True}),
        node(2, "SaveImage", ["x"]),
        wires=["1.0 > 2.filename_prefix:STRING:widget"],
    )
    assert (refusal_of(saved).path, refusal_of(saved).code) == (("workflow", "nodes", "1"), "js_only")


def test_notes_of_every_kind_disappear() -> None:
    saved = board(
        node(1, "Empty", [8, 8]), node(2, "Note", ["hi"]), node(3, "MarkdownNote", ["# hi"]), node(4, "Label (rgthree)")
    )
    assert list(graph_of(saved)) == ["1"]


@pytest.mark.parametrize(("setter", "getter"), [("SetNode", "GetNode"), ("easy setNode", "easy getNode")])
def test_a_getter_is_what_the_setter_of_its_name_gets(setter: str, getter: str) -> None:
    saved = board(
        node(1, "Empty", [8, 8]),
        node(2, setter, ["size"]),
        node(3, getter, ["size"]),
        node(4, "Filter", [1.0]),
        wires=["1.0 > 2.LATENT:LATENT", "3.0 > 4.latent:LATENT"],
    )
    assert inputs_of(saved, "4")["latent"] == ["1", 0]


def test_a_getter_without_its_setter_is_refused_at_the_node_that_asks() -> None:
    saved = board(node(3, "GetNode", ["size"]), node(4, "Filter", [1.0]), wires=["3.0 > 4.latent:LATENT"])
    problem = refusal_of(saved)
    assert (problem.path, problem.code) == (("workflow", "nodes", "4"), "setter")


def test_a_wire_that_no_socket_names_goes_to_the_socket_at_its_place_and_this_is_told() -> None:
    saved = chain()
    saved["nodes"][4]["inputs"][0]["link"] = None
    made = convert(saved, CATALOGUE)
    assert made.graph["5"]["inputs"]["images"] == ["4", 0]
    assert made.warnings == (
        "Node 5 (SaveImage) does not name the wire 5 that leads to its input 'images'; it is put there.",
    )


def test_a_wire_to_a_place_that_is_taken_or_not_there_is_left_off_and_told() -> None:
    saved = chain()
    saved["links"] += [[6, 2, 0, 5, 0, "LATENT"], [7, 2, 0, 5, 9, "LATENT"]]
    made = convert(saved, CATALOGUE)
    assert made.graph["5"]["inputs"]["images"] == ["4", 0]
    assert made.warnings == (
        "Node 5 (SaveImage) has the wire 7, which none of its free inputs can take; it is left off.",
    )


def test_a_socket_that_names_a_wire_of_another_node_does_not_get_it() -> None:
    saved = chain()
    saved["nodes"][4]["inputs"][0]["link"] = 1
    assert graph_of(saved)["5"]["images"] == ["4", 0]


def test_sockets_that_only_the_file_has_keep_their_wires() -> None:
    saved = chain()
    saved["nodes"][4]["inputs"].append({"name": "extra", "type": "LATENT", "link": 6})
    saved["links"].append([6, 2, 0, 5, 1, "LATENT"])
    assert graph_of(saved)["5"]["extra"] == ["2", 0]
