"""A graph that comes again is read once, and one that only looks the same is another."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from orchestrator_mcp.domain.lanes import Requirements
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service.drafts import LARGEST_GRAPH, MOST_GRAPHS, Draft, Drafts
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES
from orchestrator_mcp.workflows.naming import MOST_REMEMBERED


def graph(value: Any) -> dict[str, Any]:
    return {"1": {"class_type": "SaveImage", "inputs": {"value": value}}}


def read_by(drafts: Drafts, content: Any, rules: object = None) -> Draft:
    return drafts.of(content, rules, lambda: Draft(content))


def test_an_equal_graph_is_read_once() -> None:
    drafts = Drafts()
    assert read_by(drafts, graph("a")) is read_by(drafts, graph("a"))


@pytest.mark.parametrize("other", [1.0, True, "1", [1]])
def test_a_value_of_another_type_makes_another_graph(other: object) -> None:
    drafts = Drafts()
    first, second = read_by(drafts, graph(1)), read_by(drafts, graph(other))
    assert first is not second
    assert first.hash != second.hash


def test_other_rules_have_a_graph_checked_again() -> None:
    drafts = Drafts()
    assert read_by(drafts, graph(1), (100, 64)) is not read_by(drafts, graph(1), (5, 64))


def test_what_is_wrong_is_raised_each_time_and_not_remembered() -> None:
    drafts = Drafts()

    def refuse() -> Draft:
        raise ValueError("wrong")

    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            drafts.of(graph(1), None, refuse)
    assert read_by(drafts, graph(1)).graph == graph(1)


def test_large_graphs_and_too_many_are_not_kept() -> None:
    drafts = Drafts()
    large = graph("x" * LARGEST_GRAPH)
    assert read_by(drafts, large) is not read_by(drafts, large)
    first = read_by(drafts, graph("first"))
    for number in range(MOST_GRAPHS):
        read_by(drafts, graph(number))
    assert read_by(drafts, graph("first")) is not first


def test_what_names_mean_is_found_once_for_manifests_with_one_graph_until_it_is_declared_otherwise() -> None:
    draft = Draft(graph("a"))
    declared = [ParameterView(name="called", type="string", targets=["1.value"])]
    assert draft.binding((), UNKNOWN_TYPES) is draft.binding((), UNKNOWN_TYPES)
    assert draft.binding((), UNKNOWN_TYPES).bind({"1.value": "b"}, {}).targets == {"1.value": ["1.value"]}
    assert draft.binding(declared, UNKNOWN_TYPES).bind({"called": "b"}, {}).targets == {"called": ["1.value"]}
    with pytest.raises(ManifestError):
        draft.binding((), UNKNOWN_TYPES).bind({"called": "b"}, {})


def test_names_that_callers_choose_do_not_pile_up() -> None:
    binding = Draft(graph("a")).binding((), UNKNOWN_TYPES)

    def bind(first: int, count: int) -> None:
        for number in range(first, first + count):
            binding.bind({f"label {number}": 1}, {f"label {number}": 1})

    bind(0, 3 * MOST_REMEMBERED)
    tracemalloc.start()
    try:
        bind(3 * MOST_REMEMBERED, MOST_REMEMBERED)
        before, _ = tracemalloc.get_traced_memory()
        bind(4 * MOST_REMEMBERED, 5 * MOST_REMEMBERED)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < before + 500_000


LOADING: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["1", 1]}},
    "3": {"class_type": "SomeStyle", "inputs": {"style": "oil.safetensors", "other": "none"}},
}


def needs(draft: Draft, **parameters: str) -> tuple[str, Requirements]:
    return draft.needs(draft.binding((), UNKNOWN_TYPES).bind({f"{n[1]}.{n[3:]}": v for n, v in parameters.items()}, {}))


def test_what_a_job_needs_is_found_once_for_all_prompts() -> None:
    draft = Draft(LOADING)
    assert needs(draft, _2_text="a ship") is needs(draft, _2_text="a storm.ckpt") is needs(draft, _3_other="calm")


@pytest.mark.parametrize(
    ("parameters", "loaded"),
    [
        ({"_1_ckpt_name": "sdxl.safetensors"}, "oil.safetensors + sdxl.safetensors"),
        ({"_3_style": "plain"}, "sd15.safetensors"),
        ({"_3_other": "ink.safetensors"}, "ink.safetensors + oil.safetensors + sd15.safetensors"),
        ({"_2_text": "ink.safetensors"}, "oil.safetensors + sd15.safetensors"),
    ],
)
def test_a_text_that_names_another_model_is_another_need(parameters: dict[str, str], loaded: str) -> None:
    draft = Draft(LOADING)
    needs(draft, _2_text="a ship")
    key, needed = needs(draft, **parameters)
    assert sorted(key.split(" + ")) == loaded.split(" + ")
    assert sorted(file.name for file in needed.models) == loaded.split(" + ")
