"""What sort of work a graph is, and how much of it: what a render time is learned by.

Two graphs with the same nodes and models are the same sort, whatever their texts, seeds and sizes. How much it is
follows from the numbers that count most: sampling steps, and the pixels and frames that are made.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.workflows.links import Target, class_of, inputs_of

PIXELS: Final = 1024 * 1024
"""A picture of so many pixels counts as one."""

LARGEST: Final = 40
"""The most powers of two that work is larger, or smaller, than one step of one such picture."""

_AREA: Final = ("width", "height", "batch_size", "length", "video_frames", "frames")
_COUNTED: Final = frozenset({"steps", *_AREA})


class GraphWork:
    """The work that a graph is, read once; a value that a caller sets counts instead of the graph's own.

    Args:
        graph: a checked graph.
    """

    def __init__(self, graph: Graph) -> None:
        classes = sorted(class_of(graph, node) for node in graph)
        self._shape = hashlib.sha256("\n".join(classes).encode("utf-8", "surrogatepass")).hexdigest()
        self._numbers: dict[str, dict[str, float]] = {}
        for node in graph:
            found = {
                name: number
                for name, value in inputs_of(graph, node).items()
                if name in _COUNTED and (number := _number(value)) is not None
            }
            if found:
                self._numbers[node] = found
        self._counted = {Target(node, name).spelled for node, names in self._numbers.items() for name in names}
        self._own = self._size({})

    def signature(self, model_key: str) -> str:
        """The sort of work, as one short word.

        Args:
            model_key: the models that are loaded.
        """
        return hashlib.sha256(f"{self._shape}\n{model_key}".encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def counts(self, spelled: str) -> bool:
        """Whether what stands at an input tells how much work it is."""
        return spelled in self._counted

    def size(self, targets: Mapping[str, Sequence[str]], values: Mapping[str, Any]) -> int:
        """How much work it is, as a power of two; 0 where the graph says nothing of it.

        Args:
            targets: for each parameter the inputs that it sets, as `node_id.input`.
            values: the value of each parameter.
        """
        given = {
            spelled: number
            for name, all_spelled in targets.items()
            for spelled in all_spelled
            if spelled in self._counted and (number := _number(values.get(name))) is not None
        }
        return self._size(given) if given else self._own

    def _size(self, given: Mapping[str, float]) -> int:
        steps, largest = 0.0, 0.0
        for node, numbers in self._numbers.items():
            present = {name: given.get(Target(node, name).spelled, number) for name, number in numbers.items()}
            steps += present.get("steps", 0.0)
            if "width" in present and "height" in present:
                largest = max(largest, math.prod(present[name] for name in _AREA if name in present) / PIXELS)
        units = (steps or 1.0) * (largest or 1.0)
        return max(-LARGEST, min(LARGEST, round(math.log2(units))))


def _number(value: object) -> float | None:
    """A number that can count: above 0, and no larger than any picture or film is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value <= 1e6 else None
