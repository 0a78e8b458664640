"""Inputs that come and go with a value or a wire: dynamic combos, growing inputs, choices of one's own."""

from __future__ import annotations

from tests.workflows.convert.drawing import Saved, board, define, inputs_of, node

RESIZE = define(
    {
        "image": ["COMFY_MATCHTYPE_V3", {"template": {"template_id": "t", "allowed_types": "IMAGE,MASK"}}],
        "mode": [
            "COMFY_DYNAMICCOMBO_V3",
            {
                "options": [
                    {
                        "key": "size",
                        "inputs": {"required": {"width": ["INT", {"default": 512}], "height": ["INT", {}]}},
                    },
                    {"key": "factor", "inputs": {"required": {"factor": ["FLOAT", {"default": 2.0}]}}},
                    {
                        "key": "like",
                        "inputs": {
                            "required": {
                                "other": ["IMAGE", {}],
                                "fit": [
                                    "COMFY_DYNAMICCOMBO_V3",
                                    {
                                        "options": [
                                            {"key": "no", "inputs": {}},
                                            {"key": "crop", "inputs": {"required": {"side": [["left", "right"]]}}},
                                        ]
                                    },
                                ],
                            }
                        },
                    },
                ]
            },
        ],
        "method": [["area", "lanczos"]],
    },
    ["COMFY_MATCHTYPE_V3"],
)
IMAGE = define({}, ["IMAGE"])
CATALOGUE: Saved = {
    "Resize": RESIZE,
    "Image": IMAGE,
    "Batch": define(
        {
            "images": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 2, "max": 5}},
            ]
        },
        ["IMAGE"],
    ),
    "Math": define(
        {
            "expression": ["STRING", {"default": "a"}],
            "values": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"required": {"value": ["FLOAT,INT", {}]}}, "names": ["a", "b", "c"], "min": 1}},
            ],
        }
    ),
    "CustomCombo": define({"choice": ["COMBO", {"options": []}]}, ["STRING", "INT"]),
}


def resize(values: list[object], *wires: str) -> Saved:
    saved = board(node(1, "Image"), node(2, "Resize", values), wires=["1.0 > 2.image:IMAGE", *wires])
    return inputs_of(saved, "2", CATALOGUE)


def test_the_value_of_a_dynamic_combo_decides_what_the_next_values_mean() -> None:
    assert resize(["size", 640, 480, "lanczos"]) == {
        "image": ["1", 0],
        "mode": "size",
        "mode.width": 640,
        "mode.height": 480,
        "method": "lanczos",
    }
    assert resize(["factor", 1.5, "lanczos"]) == {
        "image": ["1", 0],
        "mode": "factor",
        "mode.factor": 1.5,
        "method": "lanczos",
    }


def test_dynamic_combos_lie_in_each_other_and_bring_sockets_too() -> None:
    made = resize(["like", "crop", "right", "area"], "1.0 > 2.mode.other:IMAGE")
    assert made == {
        "image": ["1", 0],
        "mode": "like",
        "mode.other": ["1", 0],
        "mode.fit": "crop",
        "mode.fit.side": "right",
        "method": "area",
    }


def test_wires_to_parts_of_another_choice_are_gone() -> None:
    made = resize(["factor", 1.5, "area"], "1.0 > 2.mode.other:IMAGE")
    assert made == {"image": ["1", 0], "mode": "factor", "mode.factor": 1.5, "method": "area"}


def test_values_by_name_reach_the_parts_of_a_dynamic_combo() -> None:
    saved = board(node(2, "Resize", {"method": "lanczos", "mode": "factor", "mode.factor": 3.0}))
    assert inputs_of(saved, "2", CATALOGUE) == {"mode": "factor", "mode.factor": 3.0, "method": "lanczos"}


def test_a_growing_input_has_the_wires_that_the_file_has() -> None:
    saved = board(
        node(1, "Image"),
        node(2, "Batch"),
        wires=[f"1.0 > 2.images.image{number}:IMAGE" for number in (0, 1, 3)],
    )
    assert inputs_of(saved, "2", CATALOGUE) == {f"images.image{number}": ["1", 0] for number in (0, 1, 3)}


def test_a_growing_input_may_have_names_instead_of_numbers() -> None:
    saved = board(
        node(1, "Image"),
        node(2, "Math", ["a + b"]),
        wires=["1.0 > 2.values.a:FLOAT", "1.0 > 2.values.b:FLOAT"],
    )
    assert inputs_of(saved, "2", CATALOGUE) == {"expression": "a + b", "values.a": ["1", 0], "values.b": ["1", 0]}


def test_a_combo_with_choices_of_its_own_says_which_one_it_is() -> None:
    saved = board(node(1, "CustomCombo", ["b", 9, "a", "b", "c", ""]))
    assert inputs_of(saved, "1", CATALOGUE) == {
        "choice": "b",
        "index": 1,
        "option1": "a",
        "option2": "b",
        "option3": "c",
        "option4": "",
    }
    saved = board(node(1, "CustomCombo", ["z", 0, "a"]))
    assert inputs_of(saved, "1", CATALOGUE)["index"] == -1
