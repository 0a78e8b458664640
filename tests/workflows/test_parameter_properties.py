"""What holds for every graph and every set of parameters, whatever they are."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.binding import Bound
from orchestrator_mcp.workflows.graph import check_graph, graph_hash
from orchestrator_mcp.workflows.links import Target, as_link, unlinked
from orchestrator_mcp.workflows.parameters import apply, infer_parameters
from orchestrator_mcp.workflows.prefixes import isolate_outputs
from orchestrator_mcp.workflows.values import kind_of
from tests.workflows.binding import targets_for
from tests.workflows.graphs import STEADY

IDS = ["1", "2", "12", "12:3", "a.b", "a"]
INPUTS = ["seed", "noise_seed", "steps", "text", "prompt", "width", "b.c", "3.steps", "value", "positive", "negative"]
CLASSES = ["KSampler", "CLIPTextEncode", "CFGGuider", "PrimitiveInt", "Reroute", "Custom"]
SCALARS = (
    st.sampled_from([-1, 0, 1, 2**64 - 1, 1.0, 0.5, True, False, None, "", "x", "\x00", "../x", float("nan"), 2**70])
    | st.integers()
    | st.text(max_size=4)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
NAMES = (
    st.sampled_from([*INPUTS, "negative_prompt", "cfg", "stepz", "shot_id"])
    | st.builds("{}{}{}".format, st.sampled_from(IDS), st.sampled_from(".:"), st.sampled_from(INPUTS))
    | st.text(max_size=6)
)
PARAMETERS = st.dictionaries(NAMES, VALUES, max_size=5)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Checked graphs: links only lead back, so there is no cycle."""
    ids = draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=5, unique=True))
    graph: Graph = {}
    for place, name in enumerate(ids):
        links = st.builds(lambda node, slot: [node, slot], st.sampled_from(ids[:place] or ids), st.integers(0, 2))
        values = st.sampled_from([-1, 5, 5.5, "text", True, None, [1, 2, 3], {"a": 1}])
        inputs = draw(st.dictionaries(st.sampled_from(INPUTS), values | links if place else values, max_size=4))
        graph[name] = {"class_type": draw(st.sampled_from(CLASSES)), "inputs": inputs}
    return graph


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, dict[str, Any]]:
    """A graph with parameters of which most fit, so that much is bound; now and then one does not."""
    graph = draw(graphs())
    if checked(graph) is None:
        return graph, {}
    fitting = {
        "integer": st.sampled_from([-1, 0, 9]),
        "number": st.sampled_from([0.25, 3]),
        "string": st.sampled_from(["x", "y"]),
        "boolean": st.booleans(),
        "any": st.sampled_from(["x", 3]),
    }
    names = {view.name: fitting[view.type] for view in infer_parameters(graph)}
    exact = {target.spelled: fitting[kind_of(value)] for target, value in unlinked(graph)}
    usable = sorted((names | exact).items(), key=lambda item: item[0])
    parameters = (
        {name: draw(values) for name, values in draw(st.lists(st.sampled_from(usable), max_size=4))} if usable else {}
    )
    odd = draw(st.none() | st.tuples(NAMES, VALUES)) if draw(st.integers(0, 4)) == 0 else None
    return graph, parameters if odd is None else {**parameters, odd[0]: odd[1]}


def checked(graph: Graph) -> Graph | None:
    try:
        return check_graph(graph)
    except ManifestError:
        return None


def bound_or_refused(graph: Graph, parameters: dict[str, Any], metadata: dict[str, Any]) -> Bound | ManifestError:
    try:
        return targets_for(graph, parameters, metadata, draw=lambda: 77)
    except ManifestError as error:
        return error


@STEADY
@given(cases(), PARAMETERS)
def test_every_parameter_is_set_or_refused_or_told(case: tuple[Graph, dict[str, Any]], labels: dict[str, Any]) -> None:
    graph, parameters = case[0], {**labels, **case[1]}
    metadata = labels
    if checked(graph) is None:
        return
    outcome = bound_or_refused(graph, parameters, metadata)
    if isinstance(outcome, ManifestError):
        assert outcome.problems
        assert all(problem.path[0] == "parameters" and problem.message for problem in outcome.problems)
        return
    assert set(outcome.targets) | set(outcome.labels) == set(outcome.values) == set(parameters)
    assert all(outcome.targets.values())
    assert all(any(ascii(label) in warning for warning in outcome.warnings) for label in outcome.labels)
    assert all(label in metadata for label in outcome.labels)


@STEADY
@given(cases())
def test_a_link_is_never_replaced_and_only_targets_change(case: tuple[Graph, dict[str, Any]]) -> None:
    graph, parameters = case
    if checked(graph) is None:
        return
    outcome = bound_or_refused(graph, parameters, parameters)
    if isinstance(outcome, ManifestError):
        return
    before = copy.deepcopy(graph)
    after = apply(graph, outcome.targets, outcome.values, outcome.seeds)
    assert graph == before
    allowed = {*outcome.seeds, *(spelled for targets in outcome.targets.values() for spelled in targets)}
    assert after.keys() == graph.keys()
    for node, content in after.items():
        assert content["inputs"].keys() == graph[node]["inputs"].keys()
        assert content["class_type"] == graph[node]["class_type"]
        for name, value in content["inputs"].items():
            old = graph[node]["inputs"][name]
            if as_link(old) is not None or Target(node, name).spelled not in allowed:
                assert value is old or value == old
    assert check_graph(after)


@STEADY
@given(cases())
def test_what_was_said_is_what_is_made_each_time(case: tuple[Graph, dict[str, Any]]) -> None:
    graph, parameters = case
    if checked(graph) is None:
        return
    outcome = bound_or_refused(graph, parameters, {})
    if isinstance(outcome, ManifestError):
        return
    stored = json.loads(json.dumps([outcome.targets, outcome.values, outcome.seeds]))
    once = apply(graph, *stored)
    assert apply(graph, *stored) == once
    assert apply(once, *stored) == once
    assert graph_hash(once) == graph_hash(apply(graph, outcome.targets, outcome.values, outcome.seeds))
    inputs = {target.spelled: value for target, value in unlinked(once)}
    for name, targets in outcome.targets.items():
        assert all(inputs[spelled] == outcome.values[name] for spelled in targets)
    for spelled, seed in outcome.seeds.items():
        assert inputs[spelled] == seed != -1
    in_force = [
        target.spelled
        for target, value in unlinked(once)
        if target.input in {"seed", "noise_seed"} and isinstance(value, int) and not isinstance(value, bool)
    ]
    assert set(in_force) <= set(outcome.seeds)


@STEADY
@given(graphs())
def test_all_that_is_listed_binds_to_what_was_listed(graph: Graph) -> None:
    if checked(graph) is None:
        return
    views = infer_parameters(graph)
    assert len({view.name for view in views}) == len(views)
    own = {target.spelled for target, _ in unlinked(graph)}
    assert {spelled for view in views for spelled in view.targets} == own
    settable = {view.name: view.default for view in views if view.default is not None}
    outcome = bound_or_refused(graph, settable, {})
    assert isinstance(outcome, Bound)
    assert outcome.targets == {view.name: view.targets for view in views if view.name in settable}


@STEADY
@given(graphs(), st.uuids().map(str))
def test_a_job_of_its_own_stays_a_sound_graph(graph: Graph, job_id: str) -> None:
    if checked(graph) is not None:
        assert check_graph(isolate_outputs(graph, job_id))
