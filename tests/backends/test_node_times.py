"""How long nodes took, by what a backend tells of them."""

from __future__ import annotations

from orchestrator_mcp.backends.history import NodeFailure
from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    Message,
    NodeFinished,
    NodeProgress,
    NodesCached,
    NodeStarted,
    PromptFailed,
    PromptFinished,
    PromptInterrupted,
    PromptStarted,
    PromptSucceeded,
)
from orchestrator_mcp.backends.node_times import NodeTimes

P = "p"


def started(node: str, shown_as: str | None = None) -> NodeStarted:
    return NodeStarted(prompt_id=P, node=node, shown_as=shown_as or node)


def states(**nodes: str) -> GraphProgressed:
    return GraphProgressed(prompt_id=P, nodes={name[1:]: NodeProgress(state, 0, 1) for name, state in nodes.items()})


def heard(*messages: tuple[float, Message], graph: str = "123") -> NodeTimes:
    times = NodeTimes(set(graph))
    for at, message in messages:
        times.hear(message, at)
    return times


def test_a_node_runs_until_the_next_begins() -> None:
    times = heard(
        (0.0, PromptStarted(prompt_id=P)),
        (0.1, NodesCached(prompt_id=P, nodes=("1", "odd"))),
        (0.5, started("2")),
        (2.0, started("3")),
        (2.5, PromptSucceeded(prompt_id=P)),
        (2.9, PromptFinished(prompt_id=P)),
    )
    assert times.seconds == {"2": 1.5, "3": 0.5}
    assert (times.cached, times.over) == (("1",), True)


def test_a_node_that_says_it_is_done_is_done_then() -> None:
    done = NodeFinished(prompt_id=P, node="2")
    times = heard((1.0, started("2")), (1.25, done), (5.0, PromptFinished(prompt_id=P)))
    assert times.seconds == {"2": 0.25}


def test_nodes_that_run_side_by_side_are_told_apart_by_their_states() -> None:
    times = heard(
        (0.0, states(n1="running", n2="running")),
        (0.0, started("1")),
        (0.1, started("2")),
        (1.0, states(n1="finished", n2="running")),
        (3.0, states(n1="finished", n2="finished")),
        (4.0, PromptSucceeded(prompt_id=P)),
    )
    assert times.seconds == {"1": 1.0, "2": 3.0}


def test_nodes_of_an_expansion_count_for_the_one_that_expanded() -> None:
    times = heard(
        (0.0, started("2")),
        (1.0, started("2.0.0.1", "2")),
        (2.0, started("2.0.0.2")),
        (4.0, started("elsewhere")),
        (5.0, PromptFinished(prompt_id=P)),
    )
    assert times.seconds == {"2": 4.0}


def test_what_has_no_end_is_not_told() -> None:
    times = heard((0.0, started("1")), (1.0, started("2")))
    assert (times.seconds, times.over) == ({"1": 1.0}, False)


def test_every_way_to_end_ends_what_runs() -> None:
    failure = NodeFailure(node_id="1", node_type="X", exception_type="E", message="m")
    for end in (
        PromptFailed(prompt_id=P, failure=failure),
        PromptInterrupted(prompt_id=P, node="1"),
        PromptFinished(prompt_id=P),
    ):
        times = heard((0.0, started("1")), (2.0, end))
        assert (times.seconds, times.over) == ({"1": 2.0}, True)


def test_a_clock_that_stood_still_gives_no_negative_time() -> None:
    assert heard((5.0, started("1")), (5.0, PromptFinished(prompt_id=P))).seconds == {"1": 0.0}
