"""How far a render is: one number over the whole graph, from what the backend says as it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    Message,
    NodeFinished,
    NodeProgressed,
    NodesCached,
    NodeStarted,
    PromptSucceeded,
)

_PLAIN_WEIGHT: Final = 1.0
_SAMPLER_WEIGHT: Final = 4.0
_USUAL_STEPS: Final = 20
_MOST_STEPS: Final = 1_000
_SAMPLED_INPUTS: Final = frozenset({"latent_image", "latent", "latents", "samples", "latent_samples"})
_UNFINISHED: Final = 0.99


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far one prompt is.

    Attributes:
        fraction: 0 to 1 over the whole graph; never falls, and 1 only once it has succeeded.
        node: the node of the graph that works now.
        value: steps done in that node.
        maximum: steps in that node.
    """

    fraction: float = 0.0
    node: str | None = None
    value: float | None = None
    maximum: float | None = None


class ProgressMeter:
    """Adds up what a backend says about one prompt; feed it that prompt's messages only.

    Args:
        graph: the submitted workflow in API format.
    """

    def __init__(self, graph: Mapping[str, Mapping[str, Any]]) -> None:
        self._parents = {node: tuple(_links_of(said)) for node, said in graph.items()}
        self._weights = node_weights(graph)
        self._total = sum(self._weights.values()) or 1.0
        self._shares: dict[str, float] = {}
        self._done: set[str] = set()
        self._tells_states = False
        self.progress = Progress()

    def update(self, message: Message) -> Progress:
        """Take one message in.

        Args:
            message: anything; what says nothing about progress changes nothing.

        Returns:
            How far it is now.
        """
        match message:
            case NodesCached(nodes=nodes):
                self._finish(nodes)
                self._show(self.progress.node)
            case NodeStarted(node=node, shown_as=shown_as):
                self._start(self._known(shown_as) or self._known(node))
            case NodeProgressed(node=node, value=value, maximum=maximum):
                self._tick(node, value, maximum)
            case GraphProgressed():
                self._take_states(message)
            case NodeFinished(node=node):
                self._finish([node])
                self._show(self.progress.node)
            case PromptSucceeded():
                self.progress = Progress(fraction=1.0)
            case _:
                pass
        return self.progress

    def _start(self, node: str | None) -> None:
        before = self.progress.node
        if before is not None and before != node and not self._tells_states:
            self._finish([before])  # one at a time, on servers that tell no states
        self._show(node)

    def _tick(self, node: str | None, value: float, maximum: float) -> None:
        if node is None:
            self._show(self.progress.node, value, maximum)
        elif node in self._weights:
            self._raise_share(node, _share(value, maximum))
            self._show(node, value, maximum)
        else:
            self._show(self._known(node) or self.progress.node, value, maximum)

    def _take_states(self, message: GraphProgressed) -> None:
        self._tells_states = True
        now = self.progress
        node, value, maximum = now.node, now.value, now.maximum
        for name, state in message.nodes.items():
            if state.state == "finished":
                self._finish([name])
            elif state.state == "running" and name in self._weights:
                self._raise_share(name, _share(state.value, state.maximum))
                node, value, maximum = name, state.value, state.maximum
        self._show(node, value, maximum)

    def _finish(self, nodes: Iterable[str]) -> None:
        """A node that is done has all it needed: what it was made from is done too."""
        waiting = [node for node in nodes if node in self._weights]
        while waiting:
            node = waiting.pop()
            if node not in self._done:
                self._done.add(node)
                self._shares[node] = 1.0
                waiting.extend(parent for parent in self._parents[node] if parent in self._weights)

    def _raise_share(self, node: str, share: float) -> None:
        self._shares[node] = max(share, self._shares.get(node, 0.0))

    def _show(self, node: str | None, value: float | None = None, maximum: float | None = None) -> None:
        done = sum(self._weights[name] * share for name, share in self._shares.items()) / self._total
        fraction = max(self.progress.fraction, min(done, _UNFINISHED))
        self.progress = Progress(fraction=fraction, node=node, value=value, maximum=maximum)

    def _known(self, node: str) -> str | None:
        """The node of the graph behind an id: `2.0.0.1` came from node `2`."""
        while node not in self._weights:
            node, dot, _ = node.rpartition(".")
            if not dot:
                return None
        return node


def node_weights(graph: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """How much of the work each node is thought to be: samplers by their steps, everything else alike.

    Args:
        graph: a workflow in API format.
    """
    stated = [steps for said in graph.values() if (steps := _literal_steps(said)) is not None]
    usual = max(stated, default=_USUAL_STEPS)
    return {node: _weight(said, usual) for node, said in graph.items()}


def _weight(node: Mapping[str, Any], usual_steps: int) -> float:
    inputs = _inputs_of(node)
    samples = "sampl" in str(node.get("class_type", "")).casefold() and not _SAMPLED_INPUTS.isdisjoint(inputs)
    if not samples:
        return _PLAIN_WEIGHT
    return _SAMPLER_WEIGHT + (_literal_steps(node) or usual_steps)


def _literal_steps(node: Mapping[str, Any]) -> int | None:
    steps = _inputs_of(node).get("steps")
    return min(steps, _MOST_STEPS) if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0 else None


def _inputs_of(node: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _links_of(node: Mapping[str, Any]) -> Iterator[str]:
    for value in _inputs_of(node).values():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            yield value[0]


def _share(value: float, maximum: float) -> float:
    return min(max(value / maximum, 0.0), 1.0) if maximum > 0 else 0.0
