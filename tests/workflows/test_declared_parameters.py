"""Binding with declared parameters: they go first, and what they say of an input holds under every name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError, Problem
from orchestrator_mcp.workflows.binding import Bound
from orchestrator_mcp.workflows.declared import Declaration, flaws, view_of
from orchestrator_mcp.workflows.links import Target
from orchestrator_mcp.workflows.parameters import apply
from tests.workflows.binding import counting, made, targets_for
from tests.workflows.graphs import STEADY, sampler, text_to_image


def view(name: str, target: str, **said: Any) -> ParameterView:
    node, _, key = target.partition(".")
    declared = Declaration(name=name, target=Target(node, key), **said)
    assert flaws(text_to_image(), declared) == []
    return view_of(text_to_image(), [declared])


STEPS = view("steps", "3.steps", minimum=1, maximum=50, default=30)
DECLARED = [
    STEPS,
    view("look", "6.text"),
    view("sampler", "3.sampler_name", choices=("euler", "dpmpp_2m")),
    view("seed", "3.seed", minimum=0, maximum=1000),
    view("strength", "3.denoise", type="number", maximum=1.0),
    view("picture", "9.filename_prefix", type="image"),
]


def bind(parameters: dict[str, Any], declared: list[ParameterView] | None = None) -> Bound:
    return targets_for(text_to_image(), parameters, {}, DECLARED if declared is None else declared, draw=counting())


def refused(parameters: dict[str, Any], declared: list[ParameterView] | None = None) -> Problem:
    with pytest.raises(ManifestError) as caught:
        bind(parameters, declared)
    [problem] = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("look", "6.text"),
        ("look_6", "6.text"),
        ("text_6", "6.text"),
        ("sampler_3", "3.sampler_name"),
        ("sampler_name_3", "3.sampler_name"),
        ("6.text", "6.text"),
        ("prompt", "6.text"),
        ("negative_prompt", "7.text"),
    ],
)
def test_a_name_is_found_as_declared_then_with_the_node_behind_it_then_by_input(name: str, target: str) -> None:
    bound = bind({name: "euler"}, DECLARED[1:])
    assert bound.targets == {name: [target]}


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("steps", 51, "range", "from 1 to 50"),
        ("steps", 0, "range", "from 1 to 50"),
        ("3.steps", 51, "range", "from 1 to 50"),
        ("steps_3", 51, "range", "from 1 to 50"),
        ("steps", 2.5, "type", "a whole number from 1 to 50"),
        ("steps", 51.0, "range", "from 1 to 50"),
        ("steps", True, "type", "a whole number"),
        ("steps", None, "type", "null"),
        ("sampler", "ddim", "choice", "'dpmpp_2m'"),
        ("sampler_name", "ddim", "choice", "'dpmpp_2m'"),
        ("sampler", 3, "choice", "one of"),
        ("strength", 1.5, "range", "at most 1.0"),
        ("strength", "1", "type", "a number"),
        ("picture", 3, "type", "name of a file"),
        ("seed", 1001, "range", "from 0 to 1000"),
        ("stepz", 3, "unknown_parameter", "steps"),
        ("samplr", "x", "unknown_parameter", "sampler"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: Any, code: str, words: str) -> None:
    problem = refused({name: value})
    assert (problem.path, problem.code) == (("parameters", name), code)
    assert words in problem.message
    if code == "choice":
        assert problem.allowed == ("euler", "dpmpp_2m")


def test_a_declared_whole_number_may_be_written_as_a_fraction_and_a_declared_number_stays_one() -> None:
    bound = bind({"steps": 2.0, "strength": 1.0})
    assert (bound.whole, repr(bound.values["steps"]), repr(bound.values["strength"])) == ({"steps": 2}, "2", "1.0")


def test_a_declared_number_takes_fractions_where_a_whole_number_stands() -> None:
    assert made(text_to_image(), bind({"strength": 0.5}))["3"]["inputs"]["denoise"] == 0.5


def test_a_default_holds_where_nobody_says_otherwise_and_is_told() -> None:
    bound = bind({})
    assert bound.defaults == {"steps": 30}
    assert made(text_to_image(), bound)["3"]["inputs"]["steps"] == 30
    for given_ in ({"steps": 5}, {"3.steps": 5}, {"steps_3": 5}):
        assert bind(given_).defaults == {}
        assert made(text_to_image(), bind(given_))["3"]["inputs"]["steps"] == 5


def test_a_default_that_stands_in_the_graph_already_is_no_news() -> None:
    assert bind({}, [view("steps", "3.steps", default=20)]).targets == {}


def test_a_default_of_several_inputs_holds_where_it_is_not_overruled() -> None:
    graph = text_to_image()
    group = [Declaration(name="side", target=Target("5", key), default=640) for key in ("width", "height")]
    bound = targets_for(graph, {"5.width": 64}, {}, [view_of(graph, group)], draw=counting())
    inputs = made(graph, bound)["5"]["inputs"]
    assert (inputs["width"], inputs["height"]) == (64, 640)
    assert (bound.targets["side"], bound.defaults) == (["5.height"], {"side": 640})


def test_several_inputs_of_one_name_that_differ_are_left_alone_without_a_default() -> None:
    graph = text_to_image()
    side = view_of(graph, [Declaration(name="side", target=Target("5", key)) for key in ("width", "height")])
    assert side.default is None
    assert targets_for(graph, {}, {}, [side]).targets == {}
    assert made(graph, targets_for(graph, {"side": 8}, {}, [side]))["5"]["inputs"]["height"] == 8


def test_a_default_seed_of_minus_one_is_drawn_each_time() -> None:
    declared = [view("seed", "3.seed", default=-1, minimum=0)]
    bound = bind({}, declared)
    assert (bound.values, bound.seeds, bound.defaults) == ({"seed": 1000}, {"3.seed": 1000}, {"seed": -1})
    assert bind({"seed": -1}, declared).seeds == {"3.seed": 1000}


def test_what_is_required_is_asked_for_unless_it_is_set_by_another_name() -> None:
    declared = [view("look", "6.text", required=True)]
    problem = refused({}, declared)
    assert (problem.path, problem.code) == (("parameters", "look"), "required")
    for name in ("look", "6.text", "text_6", "prompt"):
        assert bind({name: "x"}, declared).targets == {name: ["6.text"]}


def test_a_required_parameter_is_not_given_by_its_default() -> None:
    assert refused({}, [view("look", "6.text", required=True, default="a dog")]).code == "required"


VALUES = st.none() | st.booleans() | st.integers(-5, 60) | st.floats(-2, 60) | st.sampled_from(["euler", "x", "ddim"])
NAMES = ["steps", "steps_3", "3.steps", "cfg", "look", "text_6", "6.text", "prompt", "sampler", "seed", "strength"]


USUAL: Graph = text_to_image(_3=sampler(seed=50))


@st.composite
def declarations(draw: st.DrawFn) -> list[ParameterView]:
    """Sound declarations of the usual graph, with ranges, choices and defaults as they come."""
    found = []
    for name, target, kind in (
        ("steps", Target("3", "steps"), st.integers(0, 60)),
        ("seed", Target("3", "seed"), st.integers(-1, 60)),
        ("strength", Target("3", "denoise"), st.floats(0, 1)),
        ("sampler", Target("3", "sampler_name"), st.sampled_from(["euler", "x", "ddim"])),
    ):
        one = Declaration(
            name=name,
            target=target,
            default=draw(st.none() | kind),
            minimum=draw(st.none() | st.integers(-5, 30)),
            maximum=draw(st.none() | st.integers(30, 60)),
            choices=tuple(draw(st.lists(kind, max_size=3))),
            required=draw(st.integers(0, 9)) == 0,
        )
        if draw(st.booleans()) and not flaws(USUAL, one):
            found.append(view_of(USUAL, [one]))
    return found


@STEADY
@given(declarations(), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_what_is_sent_always_fits_what_is_declared(declared: list[ParameterView], parameters: dict[str, Any]) -> None:
    graph = USUAL
    try:
        bound = targets_for(graph, parameters, {}, declared, draw=lambda: 77)
    except ManifestError as error:
        assert all(problem.path[0] == "parameters" and problem.message for problem in error.problems)
        return
    sent = apply(graph, bound.targets, bound.values, bound.seeds)
    assert apply(sent, bound.targets, bound.values, bound.seeds) == sent
    assert set(bound.values) == {*parameters, *bound.defaults}
    for one in declared:
        [spelled] = one.targets
        node, _, key = spelled.partition(".")
        value = sent[node]["inputs"][key]
        setters = [name for name, targets in bound.targets.items() if spelled in targets]
        assert value == (bound.values[setters[0]] if setters else graph[node]["inputs"][key])
        if not setters:
            assert not one.required
            assert one.default in (None, value)
        elif value != 77:
            assert one.minimum is None or value >= one.minimum
            assert one.maximum is None or value <= one.maximum
            assert not one.choices or value in one.choices
