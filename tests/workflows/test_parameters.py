"""Binding parameters: each rule of what is set, refused and told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.binding import draw_seed
from orchestrator_mcp.workflows.graph import MAX_PROBLEMS, check_graph
from orchestrator_mcp.workflows.parameters import apply, infer_parameters
from tests.workflows.binding import bind, bind_exact, counting, made, refused, targets_for
from tests.workflows.graphs import node, sampler, text_to_image

SHIPPED = Path(__file__).parents[2] / "workflows"


def test_the_documented_parameters_bind_to_the_shipped_workflow() -> None:
    graph = check_graph(json.loads((SHIPPED / "my_workflow_001.json").read_text()))
    bound = bind(graph, prompt="cinematic shot", steps=20)
    assert bound.targets == {"prompt": ["6.text"], "steps": ["3.steps"]}
    assert made(graph, bound)["6"]["inputs"]["text"] == "cinematic shot"
    assert bound.seeds == {"3.seed": 20260128}
    assert bound.warnings == ()


@pytest.mark.parametrize(
    ("name", "value", "targets"),
    [
        ("prompt", "x", ["6.text"]),
        ("positive_prompt", "x", ["6.text"]),
        ("negative_prompt", "x", ["7.text"]),
        ("negative", "x", ["7.text"]),
        ("seed", 7, ["3.seed"]),
        ("steps", 7, ["3.steps"]),
        ("cfg", 6.5, ["3.cfg"]),
        ("cfg_scale", 6.5, ["3.cfg"]),
        ("width", 64, ["5.width"]),
        ("height", 64, ["5.height"]),
        ("batch_size", 2, ["5.batch_size"]),
        ("denoise", 0.5, ["3.denoise"]),
        ("sampler_name", "heun", ["3.sampler_name"]),
        ("scheduler", "karras", ["3.scheduler"]),
        ("ckpt_name", "sdxl.safetensors", ["4.ckpt_name"]),
        ("filename_prefix", "shot", ["9.filename_prefix"]),
        ("3.steps", 7, ["3.steps"]),
        ("3:steps", 7, ["3.steps"]),
    ],
)
def test_a_name_sets_what_a_person_means_by_it_and_nothing_else(name: str, value: object, targets: list[str]) -> None:
    graph = text_to_image()
    before = copy.deepcopy(graph)
    bound = bind_exact(graph, {name: value})
    assert bound.targets == {name: targets}
    after = made(graph, bound)
    for spelled in targets:
        place, key = spelled.split(".")
        assert after[place]["inputs"].pop(key) == value
        assert before[place]["inputs"].pop(key) != value
    assert after == before


def test_an_id_of_a_subgraph_and_an_input_with_a_dot_are_split_at_the_one_right_place() -> None:
    graph = text_to_image(**{"12:3": node("Save", **{"model.width": 5, "steps": 1})})
    for name in ("12:3.model.width", "12:3:model.width"):
        assert bind_exact(graph, {name: 6}).targets == {name: ["12:3.model.width"]}


def test_a_name_that_could_be_split_in_two_ways_is_refused() -> None:
    graph = text_to_image(**{"12": node("A", **{"3.x": 1}), "12:3": node("B", x=1)})
    assert refused(graph, {"12:3.x": 2}).code == "ambiguous"
    assert bind_exact(graph, {"12.3.x": 2}).targets == {"12.3.x": ["12.3.x"]}


@pytest.mark.parametrize("name", ["3.positive", "3:model", "positive.x", "8.samples"])
def test_a_link_is_never_replaced_and_the_feeding_node_is_named(name: str) -> None:
    graph = text_to_image(positive=node("X", x=["6", 0]))
    problem = refused(graph, {name: "x"})
    assert problem.code == "linked"
    assert "is fed by node" in problem.message


def test_a_refused_link_names_what_could_be_set_instead() -> None:
    problem = refused(text_to_image(), {"3.positive": "x"})
    assert "6 (Positive)" in problem.message
    assert "6.text" in problem.allowed


@pytest.mark.parametrize(
    ("name", "words"),
    [("stepz", "did you mean steps"), ("3.stepz", "steps"), ("99.steps", "no such input"), ("", "no such input")],
)
def test_a_name_that_fits_nothing_is_refused_with_near_ones(name: str, words: str) -> None:
    problem = refused(text_to_image(), {name: 1})
    assert (problem.path, problem.code) == (("parameters", name), "unknown_parameter")
    assert words in problem.message


def test_a_monstrous_name_is_refused_in_a_short_message() -> None:
    assert len(refused(text_to_image(), {"3." * 100_000: 1}).message) < 200


def test_a_name_that_stands_in_metadata_with_the_same_value_is_a_label_and_is_told() -> None:
    bound = bind(text_to_image(), {"shot_id": "s1"}, shot_id="s1", steps=4)
    assert bound.labels == ("shot_id",)
    assert bound.values == {"shot_id": "s1", "steps": 4}
    assert bound.targets == {"steps": ["3.steps"]}
    assert "'shot_id'" in bound.warnings[0]


def test_a_label_may_look_like_the_name_of_an_input() -> None:
    assert targets_for(text_to_image(), {"3.take": 1}, {"3.take": 1}).labels == ("3.take",)


@pytest.mark.parametrize(("given", "kept"), [("s1", "s2"), (1, True), (None, 0), ([1], [True])])
def test_a_label_needs_the_same_value_in_metadata(given: object, kept: object) -> None:
    assert refused(text_to_image(), {"shot_id": given}, {"shot_id": kept}).code in {"unknown_parameter", "type"}


def test_a_name_that_fits_is_a_parameter_even_if_metadata_has_it() -> None:
    assert bind(text_to_image(), {"steps": 4}, steps=4).targets == {"steps": ["3.steps"]}


def test_a_name_on_several_nodes_sets_them_all_when_they_agree() -> None:
    graph = text_to_image(_13=sampler(latent_image=["3", 0], seed=1))
    bound = bind(graph, steps=4, seed=9)
    assert bound.targets == {"steps": ["3.steps", "13.steps"], "seed": ["3.seed", "13.seed"]}
    assert bound.seeds == {"3.seed": 9, "13.seed": 9}


def test_a_name_on_several_nodes_that_differ_is_refused_with_the_candidates() -> None:
    refiner = sampler(latent_image=["3", 0], steps=12)
    problem = refused(text_to_image(_13={**refiner, "_meta": {"title": "Refiner"}}), {"steps": 4})
    assert problem.code == "ambiguous"
    assert problem.allowed == ("3.steps", "13.steps")
    assert '"13.steps" (Refiner, now the whole number 12)' in problem.message


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("steps", "64", "type", "the text '64' was given; a whole number is needed"),
        ("steps", True, "type", "true was given"),
        ("steps", 2.5, "type", "a whole number is needed"),
        ("steps", 2.0**53, "type", "a whole number is needed"),
        ("steps", None, "type", "leave the parameter out"),
        ("steps", [1], "type", "a list was given"),
        ("steps", {}, "type", "an object was given"),
        ("steps", 2**64, "number", "64 bits"),
        ("cfg", "7", "type", "a number is needed"),
        ("cfg", False, "type", "a number is needed"),
        ("cfg", float("inf"), "number", "finite"),
        ("prompt", 5, "type", "text in quotes"),
        ("prompt", "a\x00b", "text", "NUL"),
        ("prompt", "\udfff", "text", "surrogate"),
        ("seed", -2, "range", "0 to 18446744073709551615"),
        ("seed", "7", "type", "a whole number"),
        ("seed", 2.5, "type", "a whole number"),
        ("seed", 1e300, "type", "a whole number"),
        ("seed", -2.0, "range", "0 to 18446744073709551615"),
        ("ckpt_name", "../../x.ckpt", "path", "out of the backend's own folders"),
    ],
)
def test_a_value_that_cannot_stand_there_is_refused_in_plain_words(
    name: str, value: object, code: str, words: str
) -> None:
    problem = refused(text_to_image(), {name: value})
    assert problem.code == code
    assert problem.path[:2] == ("parameters", name)
    assert words in problem.message


def test_values_of_other_kinds_are_set_where_such_values_stand() -> None:
    graph = text_to_image(_20=node("X", flag=True, ratio=0.5, points=[1, 2, 3], shape={"a": 1}, free=None))
    values = {"flag": False, "ratio": 1, "points": [], "shape": {"b": [1, 2]}, "free": "x"}
    assert made(graph, bind(graph, **values))["20"]["inputs"] == values
    assert refused(graph, {"flag": 1}).code == "type"


def test_what_is_made_shares_no_list_with_what_was_stored() -> None:
    graph = text_to_image(_20=node("X", points=[1, 2, 3]))
    bound = bind(graph, points=[[4]])
    made(graph, bound)["20"]["inputs"]["points"][0].append(5)
    assert bound.values == {"points": [[4]]}


@pytest.mark.parametrize("link", [["4", 0], ["99", 0], [4, 0]])
def test_a_list_that_is_a_link_cannot_be_smuggled_in(link: list[Any]) -> None:
    graph = text_to_image(_20=node("X", points=[1, 2, 3]))
    assert refused(graph, {"points": link}).code == "link"


def test_a_whole_number_that_the_browser_wrote_for_a_fraction_takes_fractions() -> None:
    bound = bind(text_to_image(), cfg=6.5, denoise=0.4)
    after = made(text_to_image(), bound)
    assert (after["3"]["inputs"]["cfg"], after["3"]["inputs"]["denoise"]) == (6.5, 0.4)


def test_the_refused_fraction_says_how_to_make_it_fit() -> None:
    graph = text_to_image(_20=node("CustomThing", level=1))
    assert "write 1.0 in the workflow" in refused(graph, {"level": 0.8}).message


def test_a_whole_number_may_be_written_as_a_fraction_and_is_sent_as_a_whole_number() -> None:
    bound = bind_exact(text_to_image(), {"steps": 20.0, "3.seed": 7.0, "cfg": 8.0})
    assert bound.whole == {"steps": 20, "3.seed": 7}
    assert bound.seeds == {"3.seed": 7}
    inputs = made(text_to_image(), bound)["3"]["inputs"]
    assert [repr(inputs[name]) for name in ("steps", "seed", "cfg")] == ["20", "7", "8.0"]


def test_minus_one_as_a_fraction_draws_a_seed_too() -> None:
    assert bind_exact(text_to_image(), {"seed": -1.0}).seeds == {"3.seed": 1000}


def test_two_parameters_that_disagree_about_one_input_are_refused() -> None:
    assert refused(text_to_image(), {"steps": 4, "3.steps": 5}).code == "conflict"
    assert bind_exact(text_to_image(), {"steps": 4, "3:steps": 4}).targets["3:steps"] == ["3.steps"]


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ManifestError) as caught:
        bind(text_to_image(), steps="x", nope=1, seed=-5)
    assert [problem.path[1] for problem in caught.value.problems] == ["steps", "nope", "seed"]


def test_a_manifest_that_is_wrong_everywhere_has_a_readable_number_of_problems() -> None:
    with pytest.raises(ManifestError) as caught:
        bind_exact(text_to_image(), {f"nope {number}": 1 for number in range(1000)})
    assert len(caught.value.problems) == MAX_PROBLEMS


def test_a_seed_of_minus_one_is_drawn_once_and_recorded() -> None:
    graph = text_to_image(_13=sampler(latent_image=["3", 0], seed=1))
    bound = bind(graph, seed=-1)
    assert bound.values == {"seed": 1000}
    assert bound.seeds == {"3.seed": 1000, "13.seed": 1000}
    assert bind_exact(graph, {"3.seed": -1}).seeds == {"3.seed": 1000, "13.seed": 1}


def test_exact_seeds_are_drawn_apart_and_shared_inputs_share_the_draw() -> None:
    graph = text_to_image(_13=sampler(latent_image=["3", 0], seed=1))
    assert bind_exact(graph, {"3.seed": -1, "13.seed": -1}).seeds == {"3.seed": 1000, "13.seed": 1001}
    both = bind_exact(graph, {"3.seed": -1, "13.seed": -1, "seed": -1})
    assert set(both.values.values()) == set(both.seeds.values()) == {1000}


def test_a_seed_of_minus_one_in_the_graph_is_drawn_with_a_warning() -> None:
    bound = bind(text_to_image(_3=sampler(seed=-1)))
    assert bound.seeds == {"3.seed": 1000}
    assert '"3.seed"' in bound.warnings[0]
    assert made(text_to_image(_3=sampler(seed=-1)), bound)["3"]["inputs"]["seed"] == 1000


def test_minus_one_elsewhere_is_only_a_number() -> None:
    graph = text_to_image(_20=node("CLIPSetLastLayer", stop_at_clip_layer=-2))
    assert bind(graph, stop_at_clip_layer=-1).values == {"stop_at_clip_layer": -1}


def test_seeds_of_other_names_and_of_primitives_are_recorded_and_others_are_not() -> None:
    graph = text_to_image(
        _3=sampler(seed=["20", 0]),
        _20=node("PrimitiveInt", value=5),
        _21=node("RandomNoise", noise_seed=6),
        _22=node("Odd", seed="text"),
        _23=node("Odd", seed=True),
    )
    assert bind(graph).seeds == {"20.value": 5, "21.noise_seed": 6}
    assert bind(graph, noise_seed=8).seeds == {"20.value": 5, "21.noise_seed": 8}
    assert bind_exact(graph, {"20.value": -1}).seeds["20.value"] == 1000


def test_a_seed_input_that_holds_something_else_is_left_alone_and_told() -> None:
    graph = text_to_image(_20=node("Odd", seed="text"), _21=node("Odd", noise_seed=None))
    bound = bind(graph, seed=9)
    assert bound.targets == {"seed": ["3.seed"]}
    assert sorted(warning.split('"')[1] for warning in bound.warnings) == ["20.seed", "21.noise_seed"]
    assert bind_exact(graph, {"21.noise_seed": -1}).seeds == {"3.seed": 42, "21.noise_seed": 1000}


def test_drawn_seeds_survive_any_json_reader() -> None:
    assert all(0 <= draw_seed() < 2**53 for _ in range(100))


def test_the_draw_is_not_made_for_a_refused_manifest() -> None:
    def never() -> int:
        raise AssertionError("drew a seed")

    with pytest.raises(ManifestError):
        targets_for(text_to_image(), {"seed": -1, "nope": 1}, {}, draw=never)


def test_declared_parameters_go_before_what_is_inferred() -> None:
    declared = [
        ParameterView(name="steps", type="integer", targets=["5.width"]),
        ParameterView(name="bad", targets=["x"]),
    ]
    graph = text_to_image()
    assert targets_for(graph, {"steps": 4}, {}, declared).targets == {"steps": ["5.width"]}
    with pytest.raises(ManifestError, match="declares it wrongly"):
        targets_for(graph, {"bad": 4}, {}, declared)


@pytest.mark.parametrize("spelled", ["3.nope", "99.steps", "3.model", "steps", ""])
def test_applying_to_another_graph_is_refused(spelled: str) -> None:
    with pytest.raises(ManifestError) as caught:
        apply(text_to_image(), {"steps": [spelled]}, {"steps": 4}, {})
    assert caught.value.problems[0].code == "graph_changed"


def test_what_may_be_set_is_listed_in_the_order_of_interest() -> None:
    views = infer_parameters(text_to_image())
    assert [view.name for view in views] == [
        "prompt",
        "negative_prompt",
        "seed",
        "steps",
        "cfg",
        "width",
        "height",
        "batch_size",
        "denoise",
        "sampler_name",
        "scheduler",
        "ckpt_name",
        "filename_prefix",
    ]
    assert views[0] == ParameterView(name="prompt", type="string", default="a cat", targets=["6.text"])
    assert {view.name: view.type for view in views if view.name in {"steps", "cfg"}} == {
        "steps": "integer",
        "cfg": "number",
    }


def test_names_that_are_ambiguous_are_listed_by_their_exact_names() -> None:
    graph = text_to_image(_13=sampler(latent_image=["3", 0], steps=12, seed=1))
    views = {view.name: view for view in infer_parameters(graph)}
    assert "steps" not in views
    assert (views["3.steps"].default, views["13.steps"].default) == (20, 12)
    assert views["seed"].targets == ["3.seed", "13.seed"]


def test_everything_listed_can_be_set_and_every_input_is_listed_once() -> None:
    graph = text_to_image(_13=sampler(latent_image=["3", 0], steps=12), _20=node("X", flag=True, **{"a.b": 1.5}))
    views = infer_parameters(graph)
    bound = targets_for(graph, {view.name: view.default for view in views}, {}, draw=counting())
    assert bound.targets == {view.name: view.targets for view in views}
    listed = [target for view in views for target in view.targets]
    assert len(listed) == len(set(listed))
    assert made(graph, bound) == graph


def test_the_sockets_that_a_picture_leads_to_are_no_surprise_and_values_of_another_kind_are() -> None:
    loaded = node("LoadImage", image="a.png")
    graph = {"1": loaded, "2": node("ImageInvert", image=["1", 0]), "3": node("SaveImage", images=["2", 0])}
    assert bind(graph, image="b.png").warnings == ()
    graph = {"1": node("KSampler", seed=1), "2": node("Noise", seed=["9", 0]), "9": node("Draw", a=1, b=2)}
    [warning] = bind(graph, seed=7).warnings
    assert '"2.seed"' in warning


def test_an_exact_name_that_could_mean_two_inputs_is_listed_with_the_other_separator() -> None:
    graph = {
        "12": {"class_type": "Custom", "inputs": {"steps": 4, "3.steps": 5}},
        "12:3": {"class_type": "Custom", "inputs": {"steps": 6}},
    }
    listed = {view.name: view.targets for view in infer_parameters(graph)}
    assert listed == {"12.steps": ["12.steps"], "3.steps": ["12.3.steps"], "12:3:steps": ["12:3.steps"]}
    assert targets_for(graph, {"12:3:steps": 9}, {}).targets == {"12:3:steps": ["12:3.steps"]}
