"""How long each node of a prompt took, by what its backend tells while it renders. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Container

from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    Message,
    NodeFinished,
    NodesCached,
    NodeStarted,
    PromptFailed,
    PromptFinished,
    PromptInterrupted,
    PromptSucceeded,
)


class NodeTimes:
    """Adds up the spans in which nodes ran; feed it one prompt's messages only.

    A span counts when its beginning and its end were heard. Nodes that came from the expansion of another count for
    that one.

    Args:
        graph: the nodes that were sent.

    Attributes:
        seconds: for each node of the graph that ran.
        cached: the nodes that did not have to run.
        over: whether the end of the prompt was heard.
    """

    def __init__(self, graph: Container[str]) -> None:
        self._graph = graph
        self._open: dict[str, tuple[str, float]] = {}
        self._tells_states = False
        self.seconds: dict[str, float] = {}
        self.cached: tuple[str, ...] = ()
        self.over = False

    def hear(self, message: Message, at: float) -> None:
        """Take one message in.

        Args:
            message: anything; what says nothing about nodes changes nothing.
            at: when it came, in seconds of a clock that never goes back.
        """
        match message:
            case NodesCached(nodes=nodes):
                self.cached = tuple(node for node in nodes if node in self._graph)
            case NodeStarted(node=node, shown_as=shown_as):
                if not self._tells_states:
                    self._stop_all(at)  # one at a time, on servers that tell no states
                self._start(node, shown_as, at)
            case GraphProgressed():
                self._take_states(message, at)
            case NodeFinished(node=node):
                self._stop(node, at)
            case PromptSucceeded() | PromptFailed() | PromptInterrupted() | PromptFinished():
                self._stop_all(at)
                self.over = True
            case _:
                pass

    def _take_states(self, message: GraphProgressed, at: float) -> None:
        self._tells_states = True
        for node, state in message.nodes.items():
            if state.state == "running":
                self._start(node, node, at)
            elif state.state == "finished":
                self._stop(node, at)

    def _start(self, node: str, shown_as: str, at: float) -> None:
        known = self._known(shown_as) or self._known(node)
        if known is not None:
            self._open.setdefault(node, (known, at))

    def _stop(self, node: str, at: float) -> None:
        if node in self._open:
            known, since = self._open.pop(node)
            self.seconds[known] = self.seconds.get(known, 0.0) + max(0.0, at - since)

    def _stop_all(self, at: float) -> None:
        for node in list(self._open):
            self._stop(node, at)

    def _known(self, node: str) -> str | None:
        """The node of the graph behind an id: `2.0.0.1` came from node `2`."""
        while node not in self._graph:
            node, dot, _ = node.rpartition(".")
            if not dot:
                return None
        return node
