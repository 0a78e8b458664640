"""What inputs take, as backends say it: types, ranges and choices in place of guesses from names and values."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator_mcp.domain.views import ParameterType, ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.graph import check_graph
from orchestrator_mcp.workflows.input_types import MAX_CHOICES, InputType, InputTypes
from orchestrator_mcp.workflows.parameters import infer_parameters, with_limits
from tests.workflows.binding import targets_for
from tests.workflows.graphs import node

CLASSES: dict[str, Any] = {
    "Warp": {
        "input": {
            "required": {
                "bend": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 4.0}],
                "strength": ["INT", {"min": -3, "max": 3}],
                "mode": [["soft", "hard"], {}],
                "kind": ["COMBO", {"options": ["one", "two"]}],
                "words": ["STRING", {"multiline": True}],
                "tile": ["BOOLEAN", {"default": False}],
                "seed": ["INT", {"min": 0, "max": 2**64 - 1}],
            },
            "optional": {
                "picture": [["a.png"], {"image_upload": True}],
                "far": [["x"], {"remote": {"route": "/x"}}],
                "odd": ["FLOAT", {"min": float("-inf"), "max": "much"}],
            },
        }
    }
}
TYPES = InputTypes([CLASSES])


def loader(*names: str) -> dict[str, Any]:
    return {"Load": {"input": {"required": {"ckpt_name": [list(names)]}}}}


@pytest.mark.parametrize(
    ("name", "present", "found"),
    [
        ("bend", 1, InputType(type="number", minimum=0.0, maximum=4.0)),
        ("strength", 1, InputType(type="integer", minimum=-3, maximum=3)),
        ("mode", "soft", InputType(type="choice", choices=("soft", "hard"))),
        ("kind", "gone", InputType(type="choice", choices=("one", "two"))),
        ("words", "a", InputType(type="string")),
        ("tile", True, InputType(type="boolean")),
        ("seed", 7, InputType(type="integer")),
        ("picture", "b.png", InputType(type="image")),
        ("odd", 1.5, InputType(type="number")),
        ("far", "x", None),
        ("bend", "1", None),
        ("bend", True, None),
        ("strength", 1.5, None),
        ("nothing", 1, None),
    ],
)
def test_an_input_takes_what_its_class_says_if_the_graph_agrees(
    name: str, present: object, found: InputType | None
) -> None:
    assert TYPES.of("Warp", name, present) == found


def test_choices_of_several_backends_are_put_together_whatever_their_slashes() -> None:
    types = InputTypes([loader("sd\\a.ckpt", "b.ckpt"), {}, loader("sd/a.ckpt", "c.ckpt")])
    assert types.of("Load", "ckpt_name", "b.ckpt") == InputType(
        type="choice", choices=("sd\\a.ckpt", "b.ckpt", "c.ckpt")
    )
    many = InputTypes([loader(*map(str, range(MAX_CHOICES + 1)))])
    assert many.of("Load", "ckpt_name", "1") is None


@pytest.mark.parametrize("said", [None, [], 7, {"required": [1]}, {"required": {"bend": "FLOAT"}}, {"required": None}])
def test_definitions_that_are_none_say_nothing(said: object) -> None:
    assert InputTypes([{"Warp": {"input": said}}]).of("Warp", "bend", 1) is None


def test_inferred_parameters_are_shown_with_types_ranges_and_choices() -> None:
    graph = check_graph({"1": node("Warp", bend=1, strength=2, mode="soft", picture="b.png", other=3)})
    views = {view.name: view for view in infer_parameters(graph, TYPES)}
    assert (views["bend"].type, views["bend"].minimum, views["bend"].maximum) == ("number", 0.0, 4.0)
    assert (views["strength"].type, views["mode"].choices) == ("integer", ["soft", "hard"])
    assert (views["picture"].type, views["other"].type) == ("image", "integer")
    assert {view.type for view in infer_parameters(graph)} == {"integer", "number", "string"}


def test_fractions_fit_where_a_backend_says_so_and_not_where_a_name_only_sounds_like_it() -> None:
    graph = check_graph({"1": node("Warp", bend=1, strength=2)})
    assert targets_for(graph, {"bend": 0.5}, {}, types=TYPES).values == {"bend": 0.5}
    with pytest.raises(ManifestError):
        targets_for(graph, {"bend": 0.5}, {})
    assert targets_for(graph, {"strength": 0.5}, {}).values == {"strength": 0.5}
    with pytest.raises(ManifestError, match="a whole number is needed"):
        targets_for(graph, {"strength": 0.5}, {}, types=TYPES)


@pytest.mark.parametrize(
    ("name", "type", "said", "shown"),
    [
        ("bend", "number", {}, {"minimum": 0.0, "maximum": 4.0}),
        ("bend", "number", {"maximum": 2}, {}),
        ("strength", "integer", {}, {"minimum": -3, "maximum": 3}),
        ("mode", "string", {}, {"type": "choice", "choices": ["soft", "hard"]}),
        ("mode", "choice", {"choices": ["soft"]}, {}),
        ("words", "string", {}, {}),
        ("seed", "integer", {}, {}),
        ("bend", "any", {}, {}),
    ],
)
def test_what_a_declaration_leaves_open_is_shown_as_the_backends_take_it(
    name: str, type: ParameterType, said: dict[str, Any], shown: dict[str, Any]
) -> None:
    graph = check_graph({"1": node("Warp", bend=1.0, strength=1, mode="soft", words="a", seed=7)})
    view = ParameterView(name="x", type=type, default=None, targets=[f"1.{name}"], **said)
    assert with_limits(graph, view, TYPES) == view.model_copy(update=shown)
    assert with_limits(graph, view, InputTypes()) == view


def test_a_catalogue_that_many_backends_share_is_asked_once() -> None:
    asked = 0

    class Counted(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            nonlocal asked
            asked += 1
            return super().get(key, default)

    shared, other = Counted(loader("a.ckpt")), loader("b.ckpt")
    known = InputTypes([shared, other, *[shared] * 1000]).of("Load", "ckpt_name", "a.ckpt")
    assert known is not None and list(known.choices) == ["a.ckpt", "b.ckpt"]
    assert asked == 1
