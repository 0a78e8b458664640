"""Workflows as the studio's other tools keep them load as they are, however odd their entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.views import WorkflowView
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows.library import LibraryWorkflow, WorkflowLibrary
from orchestrator_mcp.workflows.studio_files import studio_declarations, unfold
from tests.workflows.binding import targets_for
from tests.workflows.graphs import STEADY, node, text_to_image


def parameter(name: str, node_id: Any, input_name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "node_id": node_id, "input_name": input_name, "type": kind, **more}


def saved(**changed: Any) -> dict[str, Any]:
    """A saved workflow of CinemaPromptEngineering."""
    return {
        "id": "b7e1",
        "name": "Portrait of two",
        "description": "Two people.",
        "category": "people",
        "workflow": text_to_image(_10=node("LoadImage", image="a.png")),
        "parsed": {
            "parameters": [
                parameter("positive_prompt", "6", "text", display_name="Positive Prompt", default="a cat"),
                parameter("negative_prompt", "7", "text"),
                parameter("steps", 3, "steps", "integer", default=20, constraints={"min": 1, "max": 150, "step": 1}),
                parameter("cfg", "3", "cfg", "float", constraints={"min": 0.0, "max": 30.0}),
                parameter("sampler", "3", "sampler_name", "enum", constraints={"options": ["euler", "ddim"]}),
            ],
            "image_inputs": [{"node_id": "10", "name": "reference"}],
            "loras": [],
            "outputs": ["9"],
        },
        "config": [
            {"name": "negative_prompt", "node_id": "7", "input_name": "text", "exposed": False},
            {"name": "steps", "node_id": "3", "input_name": "steps", "exposed": True},
        ],
        **changed,
    }


def template(**changed: Any) -> dict[str, Any]:
    """A template of CinemaPromptEngineering."""
    return {
        "meta": {"name": "Still", "engine": "sd15", "categories": ["stills", "sd15"]},
        "parameters": [parameter("width", "5", "width", "integer", constraints={"min": 64, "values": [512, 768]})],
        "loras": [],
        "inputs": [],
        "workflow": text_to_image(),
        **changed,
    }


async def loaded(folder: Path, document: Any) -> tuple[WorkflowView, WorkflowLibrary]:
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")
    one = WorkflowLibrary([folder], LimitSettings)
    with anyio.fail_after(10):
        return (await one.list())[0], one


async def usable(folder: Path, document: Any) -> tuple[WorkflowView, LibraryWorkflow]:
    view, one = await loaded(folder, document)
    assert view.problem is None
    with anyio.fail_after(10):
        return view, await one.get("a")


async def test_a_saved_workflow_brings_its_names_types_and_ranges(tmp_path: Path) -> None:
    view, workflow = await usable(tmp_path, saved())
    assert (view.id, view.title, view.description, view.tags) == ("a", "Portrait of two", "Two people.", ["people"])
    told = {part.name: part for part in view.parameters}
    assert list(told) == ["positive_prompt", "steps", "cfg", "sampler", "reference"]
    assert told["positive_prompt"].title == "Positive Prompt"
    assert (told["steps"].type, told["steps"].minimum, told["steps"].maximum) == ("integer", 1, 150)
    assert (told["cfg"].type, told["sampler"].choices) == ("number", ["euler", "ddim"])
    assert (told["reference"].type, told["reference"].targets) == ("image", ["10.image"])
    assert (view.notes, workflow.graph["6"]["inputs"]["text"]) == ([], "a cat")


async def test_what_it_does_not_expose_is_not_shown_and_still_settable(tmp_path: Path) -> None:
    _, workflow = await usable(tmp_path, saved())
    given_ = {"negative_prompt": "x", "steps_3": 5, "text_6": "y", "cfg_3": 2.5}
    bound = targets_for(workflow.graph, given_, {}, workflow.declared)
    assert bound.targets == {
        "negative_prompt": ["7.text"],
        "steps_3": ["3.steps"],
        "text_6": ["6.text"],
        "cfg_3": ["3.cfg"],
    }


async def test_a_template_brings_its_meta_and_parameters(tmp_path: Path) -> None:
    view, _ = await usable(tmp_path, template())
    assert (view.title, view.tags) == ("Still", ["sd15", "stills"])
    [width] = view.parameters
    assert (width.name, width.minimum, width.choices) == ("width", 64, [512, 768])


async def test_one_name_on_inputs_that_differ_gets_the_nodes_id_behind_it(tmp_path: Path) -> None:
    both = [parameter("text", "6", "text"), parameter("text", "7", "text")]
    view, _ = await usable(tmp_path, template(parameters=both))
    assert {part.name: part.targets for part in view.parameters} == {"text_6": ["6.text"], "text_7": ["7.text"]}


async def test_one_name_on_inputs_that_agree_sets_them_all(tmp_path: Path) -> None:
    graph = text_to_image(_7=node("CLIPTextEncode", text="a cat", clip=["4", 1]))
    both = [parameter("text", "6", "text"), parameter("text", "7", "text")]
    view, _ = await usable(tmp_path, template(parameters=both, workflow=graph))
    assert {part.name: part.targets for part in view.parameters} == {"text": ["6.text", "7.text"]}


ODD = {
    "an unknown constraint": (parameter("w", "5", "width", constraints={"warp": 9}, kind="integer"), "'warp'"),
    "an unknown type": (parameter("w", "5", "width", "quaternion"), "'quaternion'"),
    "a lost node": (parameter("w", "55", "width"), "no node '55'"),
    "a linked input": (parameter("w", "3", "model"), "never replaced"),
    "a type that does not fit": (parameter("w", "5", "width", "string"), "whole number 512"),
    "a default out of range": (parameter("w", "5", "width", "integer", default=1, constraints={"min": 64}), "default"),
    "a range upside down": (parameter("w", "5", "width", "integer", constraints={"min": 9, "max": 1}), "more than max"),
    "no node": ({"name": "w"}, "without name, node_id"),
}


@pytest.mark.parametrize("odd", ODD)
async def test_what_cannot_be_used_is_left_aside_with_a_note(tmp_path: Path, odd: str) -> None:
    entry, word = ODD[odd]
    sound = parameter("height", "5", "height", "integer")
    view, workflow = await usable(tmp_path, template(parameters=[entry, sound]))
    assert word in " ".join(view.notes)
    assert "height" in {part.name for part in view.parameters}
    assert targets_for(workflow.graph, {"5.width": 640}, {}, workflow.declared).targets == {"5.width": ["5.width"]}


async def test_choices_may_be_objects_and_the_workflow_may_stand_there_as_text(tmp_path: Path) -> None:
    kind = parameter("s", "3", "sampler_name", "combo", constraints={"options": [{"label": "E", "value": "euler"}]})
    view, _ = await usable(tmp_path, template(parameters=[kind], workflow=json.dumps(text_to_image())))
    assert view.parameters[0].choices == ["euler"]


async def test_without_parameters_they_are_inferred(tmp_path: Path) -> None:
    view, _ = await usable(tmp_path, saved(parsed={}, config=[]))
    assert "negative_prompt" in {part.name for part in view.parameters}


async def test_a_file_beside_it_goes_first_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("title: Ours\n", encoding="utf-8")
    view, _ = await usable(tmp_path, saved())
    assert (view.title, view.description, len(view.parameters)) == ("Ours", "Two people.", 5)


async def test_a_workflow_in_ui_format_says_so(tmp_path: Path) -> None:
    view, _ = await loaded(tmp_path, saved(workflow={"nodes": [], "links": []}))
    assert "UI format" in (view.problem or "")


@pytest.mark.parametrize("inner", ["{", None, [], {}, 3])
async def test_a_studio_file_without_a_workflow_is_unusable_and_says_why(tmp_path: Path, inner: Any) -> None:
    view, _ = await loaded(tmp_path, saved(workflow=inner))
    assert view.problem


def test_a_graph_with_a_node_called_workflow_is_a_graph() -> None:
    assert unfold({"workflow": node("LoadImage", image="a.png")}, max_bytes=1000, max_depth=9) is None


SCALARS = st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=5) | st.sampled_from(["3", "5", "steps"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
KEYS = st.sampled_from(
    ["name", "node_id", "input_name", "type", "default", "constraints", "exposed", "display_name", "required"]
)
LIMITS = st.dictionaries(st.sampled_from(["min", "max", "options", "values", "step", "odd"]), JSON | SCALARS)
ENTRIES = st.lists(st.dictionaries(KEYS, SCALARS | LIMITS | JSON, max_size=6) | JSON, max_size=4) | JSON


@STEADY
@given(st.fixed_dictionaries({"parameters": ENTRIES, "config": ENTRIES, "meta": JSON, "parsed": JSON, "name": JSON}))
def test_nothing_that_stands_in_such_a_file_is_a_crash(around: dict[str, Any]) -> None:
    graph = text_to_image()
    declared = studio_declarations(around, graph)
    settable = {view.name: view.default for view in declared.parameters if view.default is not None}
    outcome = targets_for(graph, {}, {}, declared.parameters) if not any(v.required for v in declared.parameters) else 0
    assert outcome is not None
    assert declared.hidden <= {view.name for view in declared.parameters}
    assert set(settable) <= {view.name for view in declared.parameters}
