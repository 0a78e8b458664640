"""The file beside a workflow: what it declares, how it is read live, and how each fault is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.domain.parameter_schema import object_schema
from orchestrator_mcp.domain.views import WorkflowView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows.library import LibraryWorkflow, WorkflowLibrary
from tests.workflows.graphs import text_to_image

PORTRAIT = """\
title: Portrait
description: A head and shoulders.
tags: [people, sd15]
required_capabilities: [SD15, fast]
estimated_seconds: 12
parameters:
  - name: prompt
    node: 6
    input: text
    description: What is seen.
    required: true
  - {name: steps, node: "3", input: steps, type: integer, default: 30, min: 1, max: 50}
  - {name: sampler, node: 3, input: sampler_name, choices: [euler, dpmpp_2m]}
  - {name: side, node: 5, input: width, min: 64}
  - {name: side, node: 5, input: height}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "portrait.json").write_text(json.dumps(text_to_image()), encoding="utf-8")
    return tmp_path


def library(folder: Path) -> WorkflowLibrary:
    return WorkflowLibrary([folder], LimitSettings)


def declare(folder: Path, text: str, name: str = "portrait.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


async def got(one: WorkflowLibrary) -> LibraryWorkflow:
    with anyio.fail_after(10):
        return await one.get("portrait")


async def shown(one: WorkflowLibrary) -> WorkflowView:
    with anyio.fail_after(10):
        return {view.id: view for view in await one.list()}["portrait"]


async def problem(folder: Path, text: str) -> str:
    """What the list says of a workflow with this file beside it, which also cannot be got."""
    declare(folder, text)
    one = library(folder)
    said = (await shown(one)).problem
    with pytest.raises(ManifestError) as caught:
        await got(one)
    assert caught.value.problems[0].code == "workflow_unusable"
    assert said is not None
    return said


async def test_it_says_what_a_workflow_is_called_and_what_it_takes(folder: Path) -> None:
    declare(folder, PORTRAIT)
    view = await shown(library(folder))
    assert (view.title, view.description, view.tags) == ("Portrait", "A head and shoulders.", ["people", "sd15"])
    assert (view.required_capabilities, view.estimated_seconds, view.problem) == (["fast", "sd15"], 12.0, None)
    assert [(part.name, part.type, part.default) for part in view.parameters] == [
        ("prompt", "string", "a cat"),
        ("steps", "integer", 30),
        ("sampler", "choice", "euler"),
        ("side", "integer", None),
    ]
    assert view.parameters[3].targets == ["5.width", "5.height"]
    assert object_schema(view.parameters) == {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "description": "What is seen.", "default": "a cat"},
            "steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 30},
            "sampler": {"enum": ["euler", "dpmpp_2m"], "default": "euler"},
            "side": {"type": "integer", "minimum": 64},
        },
        "required": ["prompt"],
    }


async def test_without_parameters_they_are_inferred(folder: Path) -> None:
    declare(folder, "title: Portrait\n")
    workflow = await got(library(folder))
    assert (workflow.title, workflow.declared) == ("Portrait", ())
    assert "negative_prompt" in {part.name for part in workflow.parameters}


async def test_it_counts_at_once_when_it_comes_changes_breaks_and_goes(folder: Path) -> None:
    one = library(folder)
    assert (await got(one)).title == "Portrait"
    path = declare(folder, "title: One\n")
    assert (await got(one)).title == "One"
    fresh = declare(folder, "title: Two\n", "fresh.tmp")
    os.replace(fresh, path)
    assert (await got(one)).title == "Two"
    path.write_text("titel: Three\n", encoding="utf-8")
    assert "titel" in ((await shown(one)).problem or "")
    path.unlink()
    assert (await got(one)).title == "Portrait"


async def test_nothing_is_read_twice_that_has_not_changed(folder: Path) -> None:
    declare(folder, PORTRAIT)
    one = library(folder)
    assert await got(one) is await got(one)


async def test_yml_is_taken_too_and_a_link_out_of_the_folder_is_not(folder: Path, tmp_path_factory: Any) -> None:
    declare(folder, "title: Short\n", "portrait.yml")
    one = library(folder)
    assert (await got(one)).title == "Short"
    (folder / "portrait.yml").unlink()
    outside = declare(tmp_path_factory.mktemp("outside"), "title: Outside\n", "secret.yaml")
    (folder / "portrait.yaml").symlink_to(outside)
    assert (await got(one)).title == "Portrait"


ENTRY = "parameters:\n  - name: steps\n    node: 3\n    input: steps\n"
FAULTS = {
    "a misspelt key": ("titel: x\n", ["portrait.yaml:1: titel", "Did you mean title?"]),
    "a misspelt key of a parameter": (f"{ENTRY}    tpye: integer\n", [":5: parameters[0].tpye", "type?"]),
    "a missing key": ("parameters:\n  - name: a\n", [":2: parameters[0].node: is missing"]),
    "an unknown type": (f"{ENTRY}    type: float\n", [":5: parameters[0].type: found 'float'", "number"]),
    "no YAML": ("title: [\n", ["portrait.yaml:"]),
    "a list": ("- a\n", ["portrait.yaml:1: found a list"]),
    "an anchor": ("title: &a x\n", ["anchors and aliases"]),
    "a node that is not there": (
        "parameters:\n  - {name: a, node: 77, input: steps}\n",
        [":2: parameters[0].node", "no node '77'"],
    ),
    "an input that is not there": (
        "parameters:\n  - {name: a, node: 3, input: stps}\n",
        [":2: parameters[0].input", "did you mean steps?"],
    ),
    "a linked input": ("parameters:\n  - {name: a, node: 3, input: model}\n", ["never replaced"]),
    "a type that does not fit": (f"{ENTRY}    type: string\n", [":5: parameters[0].type", "whole number 20"]),
    "a range upside down": (f"{ENTRY}    min: 9\n    max: 1\n", [":5: parameters[0].min", "more than max, 1"]),
    "an endless range": (f"{ENTRY}    min: -.inf\n", [":5: parameters[0].min: found -inf; a number"]),
    "a range of a text": ("parameters:\n  - {name: a, node: 6, input: text, max: 3}\n", ["max", "have a range"]),
    "a default out of range": (f"{ENTRY}    max: 9\n    default: 10\n", [":6: parameters[0].default", "at most 9"]),
    "a default of another type": (f"{ENTRY}    default: many\n", ["parameters[0].default", "a whole number"]),
    "a default that is no choice": (f"{ENTRY}    choices: [1, 2]\n    default: 3\n", ["default", "one of 1, 2"]),
    "a choice that YAML reads as a switch": (
        "parameters:\n  - {name: a, node: 3, input: sampler_name, choices: [on]}\n",
        ["true was found", "quotes"],
    ),
    "a choice without choices": (f"{ENTRY}    type: choice\n", ["parameters[0].choices", "needs the list"]),
    "a default that leaves its folder": (
        "parameters:\n  - {name: a, node: 4, input: ckpt_name, default: ../x}\n",
        ["parameters[0].default", "folders"],
    ),
    "two names for one input": (f"{ENTRY}  - {{name: b, node: 3, input: steps}}\n", [":5:", "a name already", "2"]),
    "one name with two ranges": (
        f"{ENTRY}    max: 50\n  - {{name: steps, node: 5, input: width, max: 60}}\n",
        [":6: parameters[1].max", "line 2"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_told_with_file_line_and_key(folder: Path, fault: str) -> None:
    text, words = FAULTS[fault]
    said = await problem(folder, text)
    assert [word for word in words if word not in said] == [], said
    assert str(folder) not in said


async def test_a_folder_or_pipe_in_its_place_makes_the_workflow_unusable(folder: Path) -> None:
    (folder / "portrait.yaml").mkdir()
    assert "this is a folder" in ((await shown(library(folder))).problem or "")
    (folder / "portrait.yaml").rmdir()
    os.mkfifo(folder / "portrait.yaml")
    assert "not an ordinary file" in ((await shown(library(folder))).problem or "")
