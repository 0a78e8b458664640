"""What keeps a backend from running a graph: found as ComfyUI finds it, and told in words that help."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.domain.preflight import Pack, in_words, lacking, near_files
from orchestrator_mcp.sandbox.catalogue import NODE_CLASSES
from orchestrator_mcp.sandbox.options import SandboxOptions
from orchestrator_mcp.sandbox.validation import GraphCheck
from orchestrator_mcp.workflows.checking import problems_on, spelled
from orchestrator_mcp.workflows.requirements import requirements
from tests.partners import picture_graph, text_to_image
from tests.workflows.graphs import STEADY, node

Graph = dict[str, Any]


def choices(source: str) -> list[str]:
    return ["example.png"] if source == "pictures" else SandboxOptions().models_in(source)


RAW = {name: one.described(choices) for name, one in NODE_CLASSES.items()}


def catalogue(**changed: Any) -> NodeCatalogue:
    """What the sandbox has, with other or further classes; None takes one away."""
    return NodeCatalogue({name: said for name, said in {**RAW, **changed}.items() if said is not None})


def definition(required: dict[str, Any], *, module: str = "custom_nodes.some-pack", **more: Any) -> dict[str, Any]:
    return {"input": {"required": required}, "output": ["IMAGE"], "python_module": module, **more}


def changed(graph: Graph, place: str, **inputs: Any) -> Graph:
    """The graph with other inputs at a node; None takes one away."""
    made = deepcopy(graph)
    made[place]["inputs"] = {k: v for k, v in {**made[place]["inputs"], **inputs}.items() if v is not None}
    return made


def kinds(graph: Graph, stock: NodeCatalogue, **choices: bool) -> list[str]:
    return [finding.kind for finding in problems_on(graph, stock, **choices)]


def accepted_by_comfyui(graph: Graph) -> bool:
    check = GraphCheck(deepcopy(graph), choices=choices, picture_check=lambda _: None)
    verdict = check.verdict(None)
    return verdict.error is None and not verdict.node_errors


@pytest.mark.parametrize("graph", [picture_graph(), text_to_image()])
def test_what_a_backend_has_all_of_has_no_problems(graph: Graph) -> None:
    assert problems_on(graph, catalogue()) == []


@pytest.mark.parametrize(
    ("place", "inputs", "kind", "told"),
    [
        ("3", {"steps": 0}, "value", "node 3 (KSampler): steps is 0; at least 1 is needed"),
        ("3", {"denoise": 1.5}, "value", "node 3 (KSampler): denoise is 1.5; at most 1.0 is needed"),
        ("3", {"steps": "many"}, "value", "node 3 (KSampler): steps is the text 'many'; a whole number is needed"),
        ("3", {"cfg": {"a": 1}}, "value", "node 3 (KSampler): cfg is an object; a number is needed"),
        ("3", {"sampler_name": "eulr"}, "value", "sampler_name is the text 'eulr', which it does not offer; near: eul"),
        ("3", {"steps": None}, "input", "node 3 (KSampler): the input steps is missing, and it is required"),
        ("3", {"model": ["4", 3]}, "link", "model is linked to output 3 of node 4 (CheckpointLoaderSimple), which ha"),
        ("8", {"samples": ["4", 0]}, "link", "samples takes LATENT, and output 0 of node 4 (CheckpointLoaderSimple)"),
        ("3", {"sampler_name": ["4", 0]}, "link", "sampler_name takes one of a list"),
    ],
)
def test_what_comfyui_refuses_is_found_and_told(place: str, inputs: Graph, kind: str, told: str) -> None:
    graph = changed(text_to_image(), place, **inputs)
    assert not accepted_by_comfyui(graph)
    [found] = problems_on(graph, catalogue())
    assert (found.kind, found.node, found.input) == (kind, place, next(iter(inputs)))
    assert told in found.words


@pytest.mark.parametrize(
    ("place", "inputs"),
    [
        ("3", {"steps": "20"}),
        ("3", {"steps": {"__value__": 20}}),
        ("3", {"steps": 20.9}),
        ("3", {"steps": True}),
        ("3", {"cfg": "7.5"}),
        ("3", {"not_an_input": "whatever"}),
        ("6", {"text": 7}),
        ("6", {"text": None, "extra": ["99", 0]}),
    ],
)
def test_it_agrees_with_comfyui_on_odd_values(place: str, inputs: Graph) -> None:
    graph = changed(text_to_image(), place, **inputs)
    assert accepted_by_comfyui(graph) is (problems_on(graph, catalogue()) == [])


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 20_000),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["", "20", "euler", "normal", "x", "sd15.safetensors", "lanczos"]),
    st.tuples(st.sampled_from("3456789"), st.integers(0, 3)).map(list),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["__value__", "a"]), st.integers(0, 30), max_size=1),
)


@STEADY
@given(st.sampled_from(sorted(text_to_image())), st.data())
def test_what_the_sandbox_accepts_is_never_refused(place: str, data: st.DataObject) -> None:
    graph = text_to_image()
    name = data.draw(st.sampled_from(sorted(graph[place]["inputs"])))
    graph[place]["inputs"][name] = data.draw(VALUES)
    try:
        accepted = accepted_by_comfyui(graph)
    except (TypeError, AttributeError):
        return  # it answers 500: not accepted, and not our matter
    assert not accepted or problems_on(graph, catalogue()) == []


def test_a_missing_class_is_told_with_the_pack_that_another_backend_has() -> None:
    graph = {**picture_graph(), "9": node("FaceFixer", image=["1", 0])}
    [found] = problems_on(graph, catalogue())
    assert (found.kind, found.node, found.name) == ("node", "9", "FaceFixer")
    assert in_words([found]) == "it lacks the node class FaceFixer"
    words = in_words([found], lambda name: Pack("ComfyUI-Impact", "gpu-2") if name == "FaceFixer" else None)
    assert words == "it lacks the node class FaceFixer (of the pack ComfyUI-Impact; gpu-2 has it)"


def test_a_missing_model_is_told_with_the_nearest_that_is_there() -> None:
    graph = text_to_image(checkpoint="sdxl_base.safetensors")
    [found] = problems_on(graph, catalogue())
    assert (found.kind, found.node, found.input) == ("model", "4", "ckpt_name")
    assert in_words([found]) == "it lacks the model sdxl_base.safetensors; it has sdxl.safetensors"


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ([], "it has none of that kind"),
        (["mist.ckpt"], "it has mist.ckpt"),
        (["a1.ckpt", "b2.ckpt", "c3.ckpt", "d4.ckpt", "e5.ckpt"], "it has a1.ckpt, b2.ckpt, c3.ckpt and 2 more"),
    ],
)
def test_a_missing_model_that_nothing_is_like_is_told_with_what_there_is(there: list[str], told: str) -> None:
    loader = {**RAW["CheckpointLoaderSimple"], "input": {"required": {"ckpt_name": [there]}}}
    [found] = problems_on(text_to_image(checkpoint="zzzz.safetensors"), catalogue(CheckpointLoaderSimple=loader))
    assert in_words([found]) == f"it lacks the model zzzz.safetensors; {told}"


PLATES: Graph = {
    "1": node("LoadImage", image="plate.png"),
    "2": node("SaveImage", images=["1", 0], filename_prefix="copy"),
}


def with_pictures(*names: str, newer: bool = False) -> NodeCatalogue:
    spec: list[Any] = [list(names), {"image_upload": True}]
    if newer:
        spec = ["COMBO", {"options": list(names), "image_upload": True}]
    return catalogue(LoadImage={**RAW["LoadImage"], "input": {"required": {"image": spec}}})


@pytest.mark.parametrize("newer", [False, True])
def test_a_picture_that_is_not_in_the_input_folder_is_missed_before_the_backend_says_so(newer: bool) -> None:
    [found] = problems_on(PLATES, with_pictures("plate_v2.png", "sky.jpg", newer=newer))
    assert (found.kind, found.node, found.input) == ("file", "1", "image")
    told = "node 1 (LoadImage): image: "
    told += "no file 'plate.png' came with the job, and there is none in its input folder; near: plate_v2.png"
    assert in_words([found]) == told
    assert problems_on(PLATES, with_pictures("sky.jpg", "Plate.PNG", newer=newer)) == []


@pytest.mark.parametrize(
    "name",
    ["shots/plate.png", "shots\\plate.png", "plate.png [output]", "plate.exr", f"{'a' * 64}.png", "job:1/a.png", ""],
)
def test_a_file_that_the_list_cannot_show_may_be_there(name: str) -> None:
    assert problems_on(changed(PLATES, "1", image=name), with_pictures("sky.jpg")) == []


def test_a_list_without_any_file_tells_nothing() -> None:
    assert problems_on(PLATES, with_pictures()) == []


def test_several_missing_models_stand_in_one_sentence() -> None:
    graph = {
        **text_to_image(checkpoint="zzzz.safetensors"),
        "20": node("UNETLoader", unet_name="flux1-dev-fp8.safetensors", weight_dtype="default"),
    }
    told = "it lacks the models zzzz.safetensors (it has sd15.safetensors, sdxl.safetensors), "
    told += "flux1-dev-fp8.safetensors (it has flux1-dev.safetensors)"
    assert in_words(problems_on(graph, catalogue())) == told
    assert in_words(lacking(requirements(graph), catalogue())) == told


@pytest.mark.parametrize(
    ("name", "options", "near"),
    [
        ("flux1-dev.safetensors", ["flux1-dev-fp8.safetensors", "sd15.ckpt"], ("flux1-dev-fp8.safetensors",)),
        ("flux1-dev.safetensors", ["FLUX\\flux1-dev.safetensors"], ("FLUX\\flux1-dev.safetensors",)),
        ("a.safetensors", ["b.safetensors", "c.safetensors"], ()),
        ("sd15.safetensors", [], ()),
    ],
)
def test_near_names_are_those_that_may_be_meant(name: str, options: list[str], near: tuple[str, ...]) -> None:
    assert near_files(name, options) == near


def test_windows_folders_are_no_difference_and_are_spelled_as_the_backend_spells_them() -> None:
    windows = catalogue(
        CheckpointLoaderSimple={
            **RAW["CheckpointLoaderSimple"],
            "input": {"required": {"ckpt_name": [["xl\\base.safetensors", "xl\\other.safetensors"]]}},
        }
    )
    graph = text_to_image("a/b\\c", checkpoint="xl/base.safetensors", prefix="shots/one")
    assert problems_on(graph, windows) == []
    sent = spelled(graph, windows)
    assert sent["4"]["inputs"]["ckpt_name"] == "xl\\base.safetensors"
    assert graph["4"]["inputs"]["ckpt_name"] == "xl/base.safetensors"
    assert {place: sent[place] for place in graph if place != "4"} == {p: graph[p] for p in graph if p != "4"}
    assert spelled(picture_graph("a/b"), windows) == picture_graph("a/b")


def test_nothing_is_found_where_more_is_taken_than_a_list_shows() -> None:
    lists: dict[str, Any] = {
        "upload": [["a.png"], {"image_upload": True}],
        "remote": [["x"], {"remote": {"route": "/r"}}],
        "several": [["x"], {"multiselect": True}],
        "newer": ["COMBO", {"options": ["x"]}],
        "dynamic": ["COMFY_DYNAMICCOMBO_V3", {"options": []}],
        "grown": ["COMFY_AUTOGROW_V3", {}],
        "forced": ["STRING", {"forceInput": True}],
    }
    stock = catalogue(Odd=definition(lists, module="comfy_extras.nodes_odd", output_node=True))
    inputs = {"upload": "sub/b.png [temp]", "remote": "y", "several": "y", "newer": "y", "forced": "typed in"}
    assert problems_on({"1": node("Odd", **inputs)}, stock) == []


def test_a_pack_may_check_its_own_values_and_links_so_only_what_is_missing_counts() -> None:
    required = {"strength": ["FLOAT", {"min": 0, "max": 1}], "mode": [["a", "b"]], "image": ["IMAGE"]}
    stock = catalogue(Pack=definition(required, output_node=True))
    graph = {"1": node("Pack", strength=7, mode="c", image=["2", 0]), "2": node("EmptyLatentImage", **SIZE)}
    assert problems_on(graph, stock) == []
    assert kinds(changed(graph, "1", strength=None), stock) == ["input"]
    assert kinds(changed(graph, "1", strength="strong"), stock) == ["value"]


SIZE = {"width": 64, "height": 64, "batch_size": 1}


@pytest.mark.parametrize(
    ("given", "wanted"), [("*", "IMAGE"), ("LATENT", "*"), ("MASK,IMAGE", "IMAGE,LATENT"), (7, "*")]
)
def test_types_fit_as_comfyui_judges_them(given: object, wanted: str) -> None:
    source = definition({}, module="comfy_extras.nodes_x", output=[given])
    sink = definition({"one": [wanted]}, module="comfy_extras.nodes_x", output_node=True)
    graph = {"1": node("Source"), "2": node("Sink", one=["1", 0])}
    assert problems_on(graph, catalogue(Source=source, Sink=sink)) == []
    other = catalogue(Source={**source, "output": ["AUDIO"]}, Sink={**sink, "input": {"required": {"one": ["IMAGE"]}}})
    assert kinds(graph, other) == ["link"]


def test_only_what_an_output_depends_on_is_judged_but_classes_and_models_count_everywhere() -> None:
    graph = {**picture_graph(), "7": node("EmptyImage", width=-1), "8": node("VAELoader", vae_name="none.pt")}
    assert kinds(graph, catalogue()) == ["model"]
    assert kinds({"1": node("EmptyImage", **SIZE, color=0)}, catalogue()) == ["outputs"]


def test_where_a_part_is_enough_one_good_output_is_enough() -> None:
    graph = {**picture_graph(), "5": node("SaveImage", images=["6", 0], filename_prefix="x"), "6": node("EmptyImage")}
    assert kinds(graph, catalogue()) == ["input"] * 4
    assert kinds(graph, catalogue(), partial=True) == []
    assert kinds(changed(graph, "1", width=-1), catalogue(), partial=True) != []


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.just("INT"), st.just("min")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=12,
)


@STEADY
@given(JUNK, JUNK, JUNK)
def test_no_definition_that_a_backend_may_send_breaks_the_check(inputs: Any, outputs: Any, config: Any) -> None:
    said = {"input": {"required": {"one": ["INT", config], "two": inputs}, "optional": inputs}, "output": outputs}
    stock = catalogue(Odd={**said, "output_node": True, "python_module": "nodes"}, Odder={"input": inputs})
    graph = {"1": node("Odd", one=5, two=["2", 0]), "2": node("Odder", one=["1", 1])}
    assert isinstance(problems_on(graph, stock), list)
    assert spelled(changed(graph, "1", three="a/b"), stock) is not None


@pytest.mark.reference
@pytest.mark.skipif("COMFYUI_OBJECT_INFO" not in os.environ, reason="COMFYUI_OBJECT_INFO names no file")
def test_real_graphs_lack_nothing_but_models_and_pictures_where_they_were_made() -> None:
    stock = NodeCatalogue(json.loads(Path(os.environ["COMFYUI_OBJECT_INFO"]).read_text()))
    cases = json.loads(Path(os.environ["COMFYUI_CONVERSION_REFERENCE"]).read_text())["cases"]
    found = [
        (case.get("file"), finding.words)
        for case in cases
        for finding in problems_on(case["api"], stock)
        if finding.kind not in ("model", "node", "file", "outputs")
    ]
    assert found == []
