"""What the jobs of one graph share, worked out once: for a batch, and for manifests that bring the same graph again."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.lanes import Requirements
from orchestrator_mcp.domain.views import ParameterType, ParameterView
from orchestrator_mcp.workflows.binding import Binding, Bound
from orchestrator_mcp.workflows.graph import graph_hash, ignored_fields
from orchestrator_mcp.workflows.input_files import file_inputs
from orchestrator_mcp.workflows.input_types import InputTypes
from orchestrator_mcp.workflows.links import unlinked
from orchestrator_mcp.workflows.naming import Names
from orchestrator_mcp.workflows.parameters import apply
from orchestrator_mcp.workflows.prefixes import linked_prefixes
from orchestrator_mcp.workflows.requirements import model_key, named_models, names_a_model, requirements
from orchestrator_mcp.workflows.work import GraphWork

MOST_GRAPHS: Final = 32
LARGEST_GRAPH: Final = 1 << 18  # bytes; larger ones are read each time
MOST_NEEDS: Final = 1_024


class Draft:
    """The reading of one graph.

    Args:
        graph: checked; it must not change while this lives.
        brought: what the manifest had as workflow: the graph, maybe with more around it.
    """

    def __init__(self, graph: Graph, brought: object = None) -> None:
        self.graph = graph
        self.names = Names(graph)
        self.hash = graph_hash(graph)
        self.work = GraphWork(graph)
        self.warnings = _warnings(graph, brought)
        self._inputs = {target.spelled: target.input for target, _ in unlinked(graph)}
        self._models = {target.spelled for target, _ in named_models(graph)}
        self._needs: dict[tuple[tuple[str, str], ...], tuple[str, Requirements]] = {}
        self._signatures: dict[str, str] = {}
        self._binding: tuple[Sequence[ParameterView], InputTypes, Binding] | None = None
        self._takes: tuple[Sequence[ParameterView], InputTypes, dict[str, ParameterType]] | None = None

    def needs(self, bound: Bound) -> tuple[str, Requirements]:
        """The models that a job loads as one word, and what it needs: only names of models can change them.

        Args:
            bound: its parameters.
        """
        texts = tuple(
            (name, value)
            for name, value in bound.values.items()
            if isinstance(value, str) and any(self._may_load(one, value) for one in bound.targets.get(name, ()))
        )
        found = self._needs.get(texts)
        if found is None:
            resolved = apply(self.graph, bound.targets, bound.values, bound.seeds)
            found = model_key(resolved), requirements(resolved)
            if len(self._needs) >= MOST_NEEDS:
                self._needs.clear()
            self._needs[texts] = found
        return found

    def is_moved_by(self, targets: Sequence[str], values: Iterable[Any]) -> bool:
        """Whether values at inputs may change what a job needs, or how much work it is.

        Args:
            targets: the inputs, as `node_id.input`.
            values: what may stand there.
        """
        if any(self.work.counts(spelled) for spelled in targets):
            return True
        texts = [value for value in values if isinstance(value, str)]
        return any(self._may_load(spelled, text) for spelled in targets for text in texts)

    def _may_load(self, spelled: str, value: str) -> bool:
        """Whether a text at an input makes it another model: a prompt does not."""
        name = self._inputs.get(spelled)
        return name is None or spelled in self._models or names_a_model(name, value)

    def signature(self, models: str) -> str:
        """What sort of work a job is, see `GraphWork.signature`.

        Args:
            models: those that it loads as one word.
        """
        found = self._signatures.get(models)
        if found is None:
            if len(self._signatures) >= MOST_NEEDS:
                self._signatures.clear()
            found = self._signatures[models] = self.work.signature(models)
        return found

    def binding(self, declared: Sequence[ParameterView], types: InputTypes) -> Binding:
        """What decides which inputs parameters set.

        Args:
            declared: the parameters that the workflow declares.
            types: what the inputs take, as far as the backends say.
        """
        last = self._binding
        if last is None or last[0] is not declared or not types.says_what(last[1]):
            made = Binding(self.graph, declared, types=types, names=self.names)
            last = self._binding = declared, types, made
        return last[2]

    def takes(self, declared: Sequence[ParameterView], types: InputTypes) -> dict[str, ParameterType]:
        """Every input that names a file which a caller brings, see `file_inputs`.

        Args:
            declared: the parameters that the workflow declares.
            types: what the inputs take, as far as the backends say.
        """
        last = self._takes
        if last is None or last[0] is not declared or not types.says_what(last[1]):
            last = self._takes = declared, types, file_inputs(self.graph, declared, types)
        return last[2]


class Drafts:
    """The graphs that came last, so that ten thousand manifests with one graph have it read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, bytes], Draft] = {}

    def of(self, brought: Any, rules: object, make: Callable[[], Draft]) -> Draft:
        """The draft of a graph.

        Args:
            brought: the graph as it came, as JSON values.
            rules: what the check of it depends on besides.
            make: checks and reads it, and raises what is wrong with it.
        """
        try:
            key = rules, marshal.dumps(brought, 2)  # exact: 1, 1.0 and true are three; version 2 has no references
        except ValueError:  # no JSON, or too deep: the check says what is wrong
            return make()
        found = self._known.get(key)
        if found is None:
            found = make()
            if len(key[1]) > LARGEST_GRAPH:
                return found
            if len(self._known) >= MOST_GRAPHS:
                self._known.clear()
            self._known[key] = found
        return found


def _warnings(graph: Graph, brought: object) -> list[str]:
    said = [f"The field {name!r} beside the graph was ignored." for name in ignored_fields(brought)]
    return said + [
        f"Node {node} takes its filename_prefix from another node: its files are not kept apart by job on the backend."
        for node in linked_prefixes(graph)
    ]
