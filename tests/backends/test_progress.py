"""One number for a whole graph: it starts at 0, never falls, and is 1 only once the prompt has succeeded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    Message,
    NodeFinished,
    NodeProgress,
    NodeProgressed,
    NodesCached,
    NodeStarted,
    PromptFinished,
    PromptSucceeded,
)
from orchestrator_mcp.backends.progress import ProgressMeter, node_weights
from tests.partners import text_to_image

CHAIN = {
    "1": {"class_type": "A", "inputs": {}},
    "2": {"class_type": "B", "inputs": {"x": ["1", 0]}},
    "3": {"class_type": "C", "inputs": {"x": ["2", 0]}},
    "4": {"class_type": "D", "inputs": {"x": ["3", 0]}},
}


def started(node: str, shown_as: str | None = None) -> Message:
    return NodeStarted(prompt_id="p", node=node, shown_as=shown_as or node)


def ticked(node: str, value: float, maximum: float) -> Message:
    return NodeProgressed(prompt_id="p", node=node, value=value, maximum=maximum)


def states(**nodes: NodeProgress) -> Message:
    return GraphProgressed(prompt_id="p", nodes={name.lstrip("n"): state for name, state in nodes.items()})


def test_a_node_counts_as_done_when_the_next_one_starts() -> None:
    meter = ProgressMeter(CHAIN)
    assert meter.update(started("1")).fraction == 0.0
    assert meter.update(started("2")).fraction == pytest.approx(0.25)
    assert meter.update(started("3")).fraction == pytest.approx(0.5)


def test_ticks_count_as_parts_of_their_node() -> None:
    meter = ProgressMeter(CHAIN)
    meter.update(started("1"))
    progress = meter.update(ticked("1", 1, 2))
    assert progress.fraction == pytest.approx(0.125)
    assert (progress.node, progress.value, progress.maximum) == ("1", 1, 2)


def test_cached_nodes_and_what_they_were_made_from_are_done() -> None:
    assert ProgressMeter(CHAIN).update(NodesCached(prompt_id="p", nodes=("3",))).fraction == pytest.approx(0.75)


def test_the_states_of_all_nodes_are_believed_over_the_order_of_starts() -> None:
    meter = ProgressMeter(CHAIN)
    meter.update(states(n1=NodeProgress("finished", 1, 1), n2=NodeProgress("running", 1, 2)))
    progress = meter.update(started("3"))
    assert progress.fraction == pytest.approx(0.375)
    assert progress.node == "3"


def test_an_expanded_node_is_shown_as_the_node_of_the_graph() -> None:
    meter = ProgressMeter(CHAIN)
    assert meter.update(started("2.0.0.7")).node == "2"
    assert meter.update(ticked("2.0.0.7", 5, 10)).fraction == 0.0


def test_only_success_makes_it_whole() -> None:
    meter = ProgressMeter(CHAIN)
    assert meter.update(NodeFinished(prompt_id="p", node="4")).fraction == 0.99
    assert meter.update(PromptFinished(prompt_id="p")).fraction == 0.99
    assert meter.update(PromptSucceeded(prompt_id="p")).fraction == 1.0
    assert meter.update(ticked("4", 1, 2)).fraction == 1.0


def test_a_sampler_weighs_by_its_steps() -> None:
    weights = node_weights(text_to_image(steps=30))
    assert weights["3"] > 5 * weights["9"]
    assert weights["4"] == weights["9"]
    assert node_weights(text_to_image(steps=60))["3"] > weights["3"]


def test_a_sampler_whose_steps_stand_in_another_node_weighs_by_them() -> None:
    graph = {
        "1": {"class_type": "BasicScheduler", "inputs": {"steps": 40}},
        "2": {"class_type": "SamplerCustomAdvanced", "inputs": {"sigmas": ["1", 0], "latent_image": ["3", 0]}},
        "3": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    }
    weights = node_weights(graph)
    assert weights["2"] > 40
    assert weights["1"] == weights["3"] == 1.0


def test_a_graph_without_nodes_has_progress_too() -> None:
    assert ProgressMeter({}).update(started("1")).fraction == 0.0


names = st.sampled_from(["1", "2", "3", "4", "2.0.1", "x", ""])
amounts = st.floats(allow_nan=False, allow_infinity=False)
heard: st.SearchStrategy[Any] = st.one_of(
    st.builds(started, names),
    st.builds(ticked, names, amounts, amounts),
    st.builds(lambda node: NodeFinished(prompt_id="p", node=node), names),
    st.builds(lambda nodes: NodesCached(prompt_id="p", nodes=tuple(nodes)), st.lists(names, max_size=3)),
    st.builds(
        lambda nodes: GraphProgressed(prompt_id="p", nodes=nodes),
        st.dictionaries(
            names, st.builds(NodeProgress, st.sampled_from(["running", "finished", "?"]), amounts, amounts), max_size=3
        ),
    ),
)


@given(messages=st.lists(heard, max_size=30))
def test_whatever_is_heard_it_never_falls_and_stays_below_one(messages: list[Message]) -> None:
    meter = ProgressMeter({**CHAIN, "1": {"class_type": "A", "inputs": {"loop": ["4", 0]}}})
    fractions = [meter.update(message).fraction for message in messages]
    assert fractions == sorted(fractions)
    assert all(0.0 <= fraction < 1.0 for fraction in fractions)
