"""What the saved values of a node become: by place, by name, and where old files hold places for other things."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator_mcp.workflows.convert import convert
from tests.workflows.convert.drawing import CATALOGUE, SEED, Saved, board, define, inputs_of, node, refusal_of


def alone(definition: Saved, values: Any, **more: Any) -> Saved:
    return inputs_of(board(node(1, "Thing", values, **more)), "1", {"Thing": definition})


def test_values_go_to_the_widgets_in_the_order_of_the_class_and_not_to_its_sockets() -> None:
    definition = define({"image": ["IMAGE"], "a": ["INT", {}], "b": ["STRING", {}], "c": ["BOOLEAN", {}]})
    assert alone(definition, [3, "x", True]) == {"a": 3, "b": "x", "c": True}


def test_required_widgets_come_before_optional_ones_by_input_order() -> None:
    definition = define({"b": ["INT", {}], "a": ["INT", {}]}, (), {"c": ["INT", {}]})
    definition["input_order"] = {"required": ["a", "b"], "optional": ["c"]}
    assert alone(definition, [1, 2, 3]) == {"a": 1, "b": 2, "c": 3}


def test_a_class_without_input_order_takes_the_order_of_its_definition() -> None:
    assert alone(define({"b": ["INT", {}], "a": ["INT", {}]}, order=False), [1, 2]) == {"b": 1, "a": 2}


@pytest.mark.parametrize(
    ("spec", "consumed"),
    [
        (SEED, 1),
        (["INT", {"default": 0}], 1),
        (["INT", {"control_after_generate": False}], 0),
        (["INT", {"control_after_generate": "fixed"}], 1),
        (["FLOAT", {"control_after_generate": True}], 1),
        (["FLOAT", {}], 0),
        ([["x", "y"], {"control_after_generate": True}], 2),
        ([["x", "y"]], 0),
    ],
)
def test_what_happens_after_a_run_takes_places_and_is_never_sent(spec: list[Any], consumed: int) -> None:
    definition = define({"seed": spec, "next": ["STRING", {}]})
    values = ["x" if isinstance(spec[0], list) else 5, *["randomize", ""][:consumed], "after"]
    made = alone(definition, values)
    assert made == {"seed": values[0], "next": "after"}


def test_an_integer_that_is_called_noise_seed_is_controlled_too_and_others_are_not() -> None:
    definition = define({"noise_seed": ["INT", {}], "steps": ["INT", {}], "last": ["INT", {}]})
    assert alone(definition, [1, "fixed", 2, 3]) == {"noise_seed": 1, "steps": 2, "last": 3}


def test_an_upload_button_takes_the_last_place() -> None:
    definition = define({"image": [["x.png"], {"image_upload": True}]}, (), {"extra": ["INT", {}]})
    assert alone(definition, ["y.png", 4, "image"]) == {"image": "y.png", "extra": 4}


def test_an_audio_player_takes_no_place_and_its_upload_button_does() -> None:
    catalogue = {"LoadAudio": define({"audio": [["x.flac"], {"audio_upload": True}]})}
    assert inputs_of(board(node(1, "LoadAudio", ["y.flac", ""])), "1", catalogue) == {"audio": "y.flac"}


def test_missing_values_are_filled_from_the_class_and_told() -> None:
    definition = define(
        {"a": ["INT", {"default": 4}], "b": [["p", "q"]], "c": ["COMBO", {"options": ["r"], "default": "s"}]}
    )
    made = convert(board(node(1, "Thing", [9])), {"Thing": definition})
    assert made.graph["1"]["inputs"] == {"a": 9, "b": "p", "c": "s"}
    assert made.warnings == ("Node 1 (Thing) has 1 values for 3 widgets; the rest have their defaults.",)


def test_a_combo_without_a_value_takes_the_first_choice() -> None:
    assert alone(define({"b": [["p", "q"]]}), [None]) == {"b": "p"}


def test_a_combo_without_choices_is_left_out() -> None:
    assert alone(define({"b": [[]]}), None) == {}


def test_values_by_name_are_taken_by_name_and_the_rest_have_defaults() -> None:
    definition = define({"a": ["INT", {"default": 1}], "b": ["INT", {"default": 2}]})
    assert alone(definition, {"b": 7, "videopreview": {"hidden": False}}) == {"a": 1, "b": 7}


def test_forced_inputs_hold_places_in_old_files_only() -> None:
    definition = define({"a": ["INT", {"forceInput": True}], "b": ["INT", {}], "c": ["INT", {}]})
    assert alone(definition, [None, 2, 3]) == {"b": 2, "c": 3}
    assert alone(definition, [2, 3]) == {"b": 2, "c": 3}


def test_lists_are_wrapped_so_that_nothing_takes_them_for_wires() -> None:
    definition = define({"a": ["COMBO", {"options": ["x", "y"], "multi_select": True}], "b": ["INT", {}]})
    assert alone(definition, [["x", "y"], 1]) == {"a": {"__value__": ["x", "y"]}, "b": 1}


def test_curves_say_that_they_are_curves() -> None:
    points = [[0, 0], [1, 1]]
    assert alone(define({"a": ["CURVE", {}]}), [points]) == {"a": {"__type__": "CURVE", "__value__": points}}


def test_big_seeds_keep_every_digit() -> None:
    assert alone(define({"seed": SEED}), [2**64 - 1, "fixed"]) == {"seed": 2**64 - 1}


def test_a_widget_type_wins_over_the_type_and_unknown_types_are_sockets() -> None:
    definition = define({"a": ["ANGLE", {"widgetType": "FLOAT"}], "b": ["ANGLE", {}], "c": ["INT", {}]})
    assert alone(definition, [1.5, 2]) == {"a": 1.5, "c": 2}


def test_comments_and_single_choices_are_resolved_where_the_class_asks_for_it() -> None:
    text = "a {cat} // not this\n/* nor\nthis */on \\{braces\\}, https://example.org"
    saved = board(node(1, "Write", [text]))
    assert inputs_of(saved, "1")["text"] == "a cat \non {braces}, https:"
    plain = {"Write": define({"text": ["STRING", {"multiline": True}]})}
    assert inputs_of(saved, "1", plain)["text"] == text


@pytest.mark.parametrize("text", ["a {red|blue} cat", "{{a|b}}", "{a\\|b|c}", "{" * 200])
def test_random_choices_are_refused_by_node(text: str) -> None:
    problem = refusal_of(board(node(7, "Write", [text], title="Positive")))
    assert (problem.path, problem.code) == (("workflow", "nodes", "7"), "js_only")
    assert "Positive" in problem.message


def test_a_long_text_of_open_comments_is_read_in_no_time() -> None:
    text = "/* " * 500_000
    assert inputs_of(board(node(1, "Write", [text])), "1")["text"] == text


@pytest.mark.parametrize("prefix", ["%date:yyyy-MM-dd%/x", "%Load It.file%", "%Loader.file%"])
def test_what_the_page_replaces_in_file_names_is_refused(prefix: str) -> None:
    saved = board(
        node(1, "Load", ["a.safetensors"], properties={"Node name for S&R": "Loader"}), node(2, "SaveImage", [prefix])
    )
    assert refusal_of(saved).path == ("workflow", "nodes", "2")


@pytest.mark.parametrize("prefix", ["%width%x%height%", "100% sure", "%no such.node%", "%year%/pic"])
def test_what_the_server_replaces_in_file_names_stays(prefix: str) -> None:
    assert inputs_of(board(node(2, "SaveImage", [prefix])), "2")["filename_prefix"] == prefix


def test_the_title_is_kept_and_the_class_names_those_without() -> None:
    made = convert(board(node(1, "Load", ["a"], title="My Model"), node(2, "Load", ["a"])), CATALOGUE)
    assert [made.graph[key]["_meta"]["title"] for key in "12"] == ["My Model", "Load It"]


def test_nothing_of_the_document_is_changed() -> None:
    saved = board(node(1, "Load", ["a"]), node(2, "Write", ["x"]), wires=["1.1 > 2.clip:CLIP"])
    before = repr(saved)
    convert(saved, CATALOGUE)
    assert repr(saved) == before
