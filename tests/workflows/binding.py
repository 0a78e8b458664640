"""Short ways to bind parameters in tests; drawn seeds count up from 1000."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError, Problem
from orchestrator_mcp.workflows.binding import Binding, Bound, draw_seed
from orchestrator_mcp.workflows.graph import check_graph
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.parameters import apply


def counting() -> Callable[[], int]:
    numbers: Iterator[int] = iter(range(1000, 2000))
    return lambda: next(numbers)


def targets_for(
    graph: Graph,
    parameters: Mapping[str, Any],
    metadata: Mapping[str, Any],
    declared: Sequence[ParameterView] = (),
    *,
    draw: Callable[[], int] = draw_seed,
    types: InputTypes = UNKNOWN_TYPES,
) -> Bound:
    return Binding(graph, declared, types=types).bind(parameters, metadata, draw=draw)


def bind(graph: Graph, metadata: dict[str, Any] | None = None, /, **parameters: Any) -> Bound:
    return targets_for(check_graph(graph), parameters, metadata or {}, draw=counting())


def bind_exact(graph: Graph, parameters: dict[str, Any]) -> Bound:
    return targets_for(check_graph(graph), parameters, {}, draw=counting())


def refused(graph: Graph, parameters: dict[str, Any], metadata: dict[str, Any] | None = None) -> Problem:
    with pytest.raises(ManifestError) as caught:
        targets_for(check_graph(graph), parameters, metadata or {}, draw=counting())
    (problem,) = caught.value.problems
    return problem


def made(graph: Graph, bound: Bound) -> Graph:
    return apply(graph, bound.targets, bound.values, bound.seeds)
