"""What sort of work a graph is, and how much."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator_mcp.workflows.work import LARGEST, GraphWork


def graph(steps: Any = 20, width: Any = 1024, height: Any = 1024, batch: Any = 1, text: str = "a") -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": batch}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": text}},
        "3": {"class_type": "KSampler", "inputs": {"steps": steps, "latent_image": ["1", 0]}},
    }


def size(**values: Any) -> int:
    return GraphWork(graph(**values)).size({}, {})


def test_texts_and_numbers_do_not_change_the_sort_of_work_but_models_and_nodes_do() -> None:
    one = GraphWork(graph()).signature("sdxl")
    assert one == GraphWork(graph(steps=3, text="b")).signature("sdxl")
    assert one != GraphWork(graph()).signature("flux")
    assert one != GraphWork({**graph(), "4": {"class_type": "VAEDecode", "inputs": {}}}).signature("sdxl")


def test_the_size_follows_steps_pixels_and_batches() -> None:
    assert size(steps=1) == 0
    assert size(steps=16) == 4
    assert size(steps=16, width=2048, height=2048) == 6
    assert size(steps=16, batch=4) == 6


def test_the_value_of_a_parameter_counts_instead_of_the_one_in_the_graph() -> None:
    work = GraphWork(graph(steps=1))
    assert work.size({"steps": ["3.steps"]}, {"steps": 32}) == 5
    assert work.size({"steps": ["3.steps"]}, {}) == 0


@pytest.mark.parametrize("steps", [True, -1, 0, "20", ["9", 0], float("nan"), float("inf"), 10**400])
def test_what_is_no_sensible_number_does_not_count(steps: Any) -> None:
    assert size(steps=steps) == 0


def test_no_graph_is_too_large_to_be_told() -> None:
    assert size(steps=10**6, width=10**6, height=10**6, batch=10**6) == LARGEST
