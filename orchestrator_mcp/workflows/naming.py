"""From the name of a parameter to the inputs that it sets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from orchestrator_mcp.domain.documents import describe
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.errors import nearest
from orchestrator_mcp.workflows.links import (
    Target,
    as_link,
    consumers,
    inputs_of,
    links_of,
    natural,
    title_of,
    unlinked,
    value_at,
)
from orchestrator_mcp.workflows.roles import ROLE_OF_NAME, SIZE_NAMES, sizes_for, texts_for
from orchestrator_mcp.workflows.titles import titled
from orchestrator_mcp.workflows.values import SEED_INPUTS, kind_of, same

STANDARD_NAMES: Final = (
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "cfg",
    "width",
    "height",
    "batch_size",
    "denoise",
    "sampler_name",
    "scheduler",
)
"""What callers call things, in the order in which a workflow's parameters are listed."""

MAX_NAME: Final = 500  # characters
MOST_REMEMBERED: Final = 1_000  # names of one graph that callers wrote
UNKNOWN: Final = "unknown_parameter"
_TOLD = 8  # candidates in a message
_SPELLINGS = {"cfg": ("cfg", "cfg_scale"), "cfg_scale": ("cfg_scale", "cfg")}
_PRIMITIVE_INPUTS = frozenset({"value", "text", "string", "prompt", "int", "float", "number"})


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a name means in a graph.

    Attributes:
        targets: the inputs that it sets; empty when it cannot be used.
        kept: inputs of that meaning that it leaves alone: other nodes feed them, or they hold something else.
        fault: why it cannot be used; None also when the name means nothing here.
        code: a stable word for the fault.
        candidates: names that could be used instead.
    """

    targets: tuple[Target, ...] = ()
    kept: tuple[Target, ...] = ()
    fault: str | None = None
    code: str = UNKNOWN
    candidates: tuple[str, ...] = ()

    @property
    def fits_nothing(self) -> bool:
        """Whether the name means nothing in the graph at all."""
        return not self.targets and self.code == UNKNOWN


class Names:
    """The names that mean something in one graph.

    Args:
        graph: a checked graph; it must not change while this lives.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._meanings: dict[str, Meaning] = {}

    @cached_property
    def seed_places(self) -> tuple[Target, ...]:
        """Every input that a seed can stand at, in the graph's order, whatever stands there now."""
        order = {target: place for place, (target, _) in enumerate(unlinked(self._graph))}
        return tuple(sorted(self._reached_seeds[0], key=order.__getitem__))

    def is_seed(self, target: Target) -> bool:
        """Whether a whole number at an input is a seed."""
        return target in self._seed_set

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Plain names, the usual ones first, for telling near ones."""
        usual = [name for name in STANDARD_NAMES if self.meaning(name).targets]
        return tuple(dict.fromkeys([*usual, *self.titles, *(target.input for target, _ in unlinked(self._graph))]))

    @cached_property
    def titles(self) -> dict[str, Target]:
        """Names that the nodes' titles give to single inputs."""
        return titled(self._graph)

    def exact(self, target: Target) -> str:
        """The exact name of an input; where that could be another's too, with the other separator."""
        spellings = (target.spelled, f"{target.node}:{target.input}")
        return next((name for name in spellings if self.meaning(name).targets == (target,)), target.spelled)

    def meaning(self, name: str) -> Meaning:
        """Find the inputs that a name sets.

        An exact name (`node_id.input` or `node_id:input`) goes before a plain one; then come a node's title, and the
        name or the input with `_` and the node's id behind it.

        Args:
            name: what a caller wrote.
        """
        found = self._meanings.get(name)
        if found is None:
            if len(self._meanings) >= MOST_REMEMBERED:
                self._meanings.clear()
            found = self._meanings[name] = self._find(name)
        return found

    def _find(self, name: str) -> Meaning:
        if len(name) > MAX_NAME:
            return Meaning(fault=f"the name is longer than {MAX_NAME} characters")
        hits, nodes = self._splits(name)
        if len(hits) > 1:
            told = " and ".join(f"input {hit.input!a} of node {hit.node!a}" for hit in hits)
            return Meaning(fault=f"could mean {told}; write the other separator", code="ambiguous")
        if hits:
            return self._exact(hits[0])
        plain = self._plain(name)
        if nodes and not plain.targets and plain.fault is None:
            inputs = tuple(inputs_of(self._graph, nodes[-1]))
            near = nearest(name[len(nodes[-1]) + 1 :], inputs) or inputs[:_TOLD]
            told = f"; it has {', '.join(near)}" if near else ""
            return Meaning(fault=f"node {self._called(nodes[-1])} has no such input{told}", candidates=near)
        return plain

    @cached_property
    def _seed_set(self) -> frozenset[Target]:
        return frozenset(self.seed_places)

    @cached_property
    def _inputs_called(self) -> dict[str, list[Target]]:
        found: dict[str, list[Target]] = {}
        for node in self._graph:
            for name in inputs_of(self._graph, node):
                found.setdefault(name, []).append(Target(node, name))
        return found

    @cached_property
    def _feeds(self) -> dict[str, list[Target]]:
        return consumers(self._graph)

    @cached_property
    def _reached_seeds(self) -> tuple[list[Target], list[Target]]:
        return self._reach([target for name in sorted(SEED_INPUTS) for target in self._inputs_called.get(name, ())])

    def _seeds(self) -> Meaning | None:
        """The plain name `seed`: every input that holds a whole number as seed now, whether they agree or not."""
        whole = {place for place in self.seed_places if kind_of(value_at(self._graph, place)) == "integer"}
        others = [place for place in self.seed_places if place not in whole]
        targets = tuple(place for place in self.seed_places if place in whole)
        return Meaning(targets=targets, kept=(*others, *self._reached_seeds[1])) if targets else None

    def _splits(self, name: str) -> tuple[list[Target], list[str]]:
        places = [place for place, character in enumerate(name) if character in ".:"]
        nodes = [place for place in places if name[:place] in self._graph]
        found = [Target(name[:place], name[place + 1 :]) for place in nodes]
        hits = [target for target in found if target.input in inputs_of(self._graph, target.node)]
        return hits, [target.node for target in found]

    def _exact(self, target: Target) -> Meaning:
        if as_link(value_at(self._graph, target)) is None:
            return Meaning(targets=(target,))
        return self._blocked([target])

    def _plain(self, name: str) -> Meaning:
        meaning = self._named(name)
        if not meaning.targets and name in self.titles:
            return Meaning(targets=(self.titles[name],))
        return self._on_node(name) if meaning.fits_nothing and meaning.fault is None else meaning

    def _on_node(self, name: str) -> Meaning:
        """A name or an input with a node's id behind it: `positive_prompt_6`, `text_6`."""
        for place in [place for place, character in enumerate(name) if character == "_"]:
            left, node = name[:place], name[place + 1 :]
            if not left or node not in self._graph:
                continue
            meaning = self._named(left)
            spelled = {target.spelled for target in meaning.targets} | set(meaning.candidates)
            there = (Target(node, key) for key in inputs_of(self._graph, node))
            targets = tuple(target for target in there if meaning.code != "linked" and target.spelled in spelled)
            if targets:
                return Meaning(targets=targets)
            if left in inputs_of(self._graph, node):
                return self._exact(Target(node, left))
        return Meaning()

    def _named(self, name: str) -> Meaning:
        role = ROLE_OF_NAME.get(name)
        if role is not None and (group := texts_for(self._graph, role)):
            return self._of_group(group)
        if name in SIZE_NAMES and (group := sizes_for(self._graph, name)):
            return self._of_group(group)
        if name == "seed" and (seeds := self._seeds()) is not None:
            return seeds
        spellings = (
            [other for other in ROLE_OF_NAME if ROLE_OF_NAME[other] == role] if role else _SPELLINGS.get(name, ())
        )
        for spelling in dict.fromkeys([name, *spellings]):
            if group := self._inputs_called.get(spelling, []):
                return self._of_group(group)
        return Meaning()

    def _of_group(self, group: list[Target]) -> Meaning:
        targets, kept = self._reach(group)
        if not targets:
            return self._blocked(kept)
        if self._agree(targets):
            return Meaning(targets=tuple(targets), kept=tuple(kept))
        candidates = tuple(target.spelled for target in targets)
        told = "; ".join(
            f'"{target.spelled}" ({title_of(self._graph, target.node)}, now {describe(value_at(self._graph, target))})'
            for target in targets[:_TOLD]
        )
        more = f"; and {len(targets) - _TOLD} more" if len(targets) > _TOLD else ""
        message = f"stands on several nodes with different values; set one of {told}{more}"
        return Meaning(fault=message, code="ambiguous", candidates=candidates)

    def _reach(self, group: list[Target]) -> tuple[list[Target], list[Target]]:
        """Sort a group into the inputs that can be set, and those that something else feeds.

        A link to a primitive, a node that only holds one value, leads on to that value, unless the value also goes
        elsewhere.
        """
        members = set(group)
        reached: dict[Target, None] = {}
        kept: list[Target] = []
        for target in group:
            link = as_link(value_at(self._graph, target))
            held = None if link is None else self._held_by(link.node)
            if link is None:
                reached[target] = None
            elif held is not None and members.issuperset(self._feeds[link.node]):
                reached[held] = None
            else:
                kept.append(target)
        return list(reached), kept

    def _held_by(self, node: str) -> Target | None:
        inputs = inputs_of(self._graph, node)
        if len(inputs) == 1 and not links_of(self._graph, node):
            (name,) = inputs
            return Target(node, name) if name.casefold() in _PRIMITIVE_INPUTS else None
        return None

    def _agree(self, targets: list[Target]) -> bool:
        """Whether the inputs hold the same now; the several text fields of one encoder count as one."""
        by_node: dict[str, list[Any]] = {}
        for target in targets:
            by_node.setdefault(target.node, []).append(value_at(self._graph, target))
        first, *others = by_node.values()
        return all(_same_values(first, other) for other in others)

    def _blocked(self, group: list[Target]) -> Meaning:
        told: list[str] = []
        candidates: list[str] = []
        for target in group[:_TOLD]:
            link = links_of(self._graph, target.node)[target.input]
            settable = [Target(link.node, name).spelled for name in self._settable(link.node)]
            candidates.extend(settable)
            told.append(f'"{target.spelled}" is fed by node {self._called(link.node)}')
        mend = f"; set {' or '.join(candidates[:_TOLD])} instead" if candidates else ""
        message = f"a link is never replaced: {', '.join(told)}{mend}"
        return Meaning(fault=message, code="linked", candidates=tuple(candidates))

    def _settable(self, node: str) -> list[str]:
        links = links_of(self._graph, node)
        return [name for name in inputs_of(self._graph, node) if name not in links][:_TOLD]

    def _called(self, node: str) -> str:
        return f"{node} ({title_of(self._graph, node)})"


def in_reading_order(graph: Graph) -> list[Target]:
    """Every input with a value of its own, by node number as a person counts them."""
    return sorted((target for target, _ in unlinked(graph)), key=lambda target: natural(target.node))


def _same_values(some: list[Any], others: list[Any]) -> bool:
    return all(any(same(value, other) for other in others) for value in some) and all(
        any(same(value, other) for other in some) for value in others
    )
