"""What keeps a backend from running a graph, and how that is told: short, and with what would be right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from orchestrator_mcp.domain.lanes import ModelFile, Requirements
from orchestrator_mcp.errors import nearest

Kind = Literal["node", "model", "file", "input", "link", "value", "outputs"]

MOST_NAMES: Final = 5  # of one kind that a sentence tells
MOST_NEAR: Final = 3
_MOST_OPTIONS: Final = 2_000  # of one list that are looked at for near names
_LEAST_PART: Final = 3  # letters that a name must share with a longer one to be called near


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One reason why a backend would refuse a graph.

    Attributes:
        kind: a missing node class, model or file to begin with, a missing input, a link or a value that does not fit,
            or no output.
        node: the id of the node; empty where the graph as a whole is meant.
        class_type: the class of that node.
        input: the input; empty where the node as a whole is meant.
        name: what is missing; empty where nothing is.
        words: what is wrong, as the end of "it lacks …" for what is missing, else as a clause of its own.
        near: what the backend has instead, the most alike first; where nothing is alike, the first that it has.
        further: how many more it has, where nothing is alike.
        allowed: for a value that is none of a list, those of the list that are told.
    """

    kind: Kind
    node: str = ""
    class_type: str = ""
    input: str = ""
    name: str = ""
    words: str
    near: tuple[str, ...] = ()
    further: int = 0
    allowed: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The input that is meant, as `node.input`; empty where it is no input."""
        return f"{self.node}.{self.input}" if self.input else ""


class Stock(Protocol):
    """What a backend said it has (`/object_info`)."""

    def has_class(self, name: str) -> bool:
        """Whether it knows the node class."""

    def options(self, class_type: str, input: str) -> tuple[str, ...] | None:
        """The names that an input takes; None where that is no closed list."""


class Pack(NamedTuple):
    """Where a node class comes from.

    Attributes:
        name: the folder of its pack; empty for ComfyUI itself.
        backend_id: a backend that has it.
    """

    name: str
    backend_id: str


PackOf = Callable[[str], Pack | None]
"""Says which pack has a node class, as far as any backend tells."""


def no_pack(_: str) -> None:
    """Nobody tells."""


def lacking(requirements: Requirements, stock: Stock) -> list[Finding]:
    """What a backend does not have of what jobs need: node classes first, then models; each named once.

    Args:
        requirements: what the jobs need.
        stock: what the backend has.
    """
    classes = [missing_class(name) for name in sorted(requirements.node_classes) if not stock.has_class(name)]
    missing: dict[str, Finding] = {}
    for file in sorted(requirements.models):
        found = missing_model(file, stock)
        if found is not None:
            missing.setdefault(found.name, found)
    return [*classes, *missing.values()]


def missing_class(name: str, node: str = "") -> Finding:
    """The finding for a node class that a backend does not have.

    Args:
        name: the class.
        node: a node of it.
    """
    return Finding(kind="node", node=node, class_type=name, name=name, words=f"the node class {name}")


def missing_model(file: ModelFile, stock: Stock, node: str = "") -> Finding | None:
    """The finding for a model that a loader does not offer; None when it does, or shows no closed list.

    A class that is not there at all offers nothing that could be compared, so nothing is found then.

    Args:
        file: what the graph names, with `/` between folders.
        stock: what the backend has.
        node: the loader.
    """
    options = stock.options(file.class_type, file.input)
    if options is None or portable(file.name) in map(portable, options):
        return None
    alike = near_files(file.name, options)
    return Finding(
        kind="model",
        node=node,
        class_type=file.class_type,
        input=file.input,
        name=file.name,
        words=f"the model {file.name}",
        near=alike or options[:MOST_NEAR],
        further=0 if alike else max(0, len(options) - MOST_NEAR),
    )


def portable(name: str) -> str:
    """A file name as no system in particular writes it."""
    return name.replace("\\", "/")


def near_files(name: str, options: Sequence[str]) -> tuple[str, ...]:
    """Files that may be what was meant: the same in another folder or precision first, then what is spelled alike.

    Args:
        name: what is missing.
        options: what there is; at most 2,000 are looked at.
    """
    wanted = _stem(name)
    by_stem: dict[str, str] = {}
    for option in options[:_MOST_OPTIONS]:
        by_stem.setdefault(_stem(option), option)
    parts = [stem for stem in by_stem if min(len(stem), len(wanted)) >= _LEAST_PART and _one_in_other(stem, wanted)]
    parts.sort(key=lambda stem: (abs(len(stem) - len(wanted)), stem))
    close = nearest(wanted, by_stem, most=MOST_NEAR)
    return tuple(by_stem[stem] for stem in list(dict.fromkeys([*parts, *close]))[:MOST_NEAR])


def _one_in_other(one: str, other: str) -> bool:
    return one in other or other in one


def _stem(name: str) -> str:
    last = portable(name[:400]).rsplit("/", 1)[-1].casefold()
    return last.rpartition(".")[0] or last


def in_words(findings: Iterable[Finding], pack_of: PackOf = no_pack) -> str:
    """All that keeps a backend from running a graph, in one clause that goes with "it".

    Args:
        findings: at least one.
        pack_of: tells of missing node classes which pack has them.
    """
    listed = list(findings)
    classes = _once([finding for finding in listed if finding.kind == "node"])
    models = _once([finding for finding in listed if finding.kind == "model"])
    others = list(dict.fromkeys(finding.words for finding in listed if finding.kind not in ("node", "model")))
    parts = []
    if classes:
        parts.append(f"it lacks {_joined('node class', 'node classes', [_class(one, pack_of) for one in classes])}")
    if len(models) == 1:
        parts.append(f"it lacks the model {models[0].name}; {_instead(models[0])}")
    elif models:
        parts.append(f"it lacks {_joined('model', 'models', [_model(one) for one in models])}")
    if others:
        more = f"; and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
        parts.append("; ".join(others[:MOST_NAMES]) + more)
    return "; ".join(parts)


def _once(findings: list[Finding]) -> list[Finding]:
    return list({finding.name: finding for finding in reversed(findings)}.values())[::-1]


def _joined(one: str, many: str, names: list[str]) -> str:
    if len(names) == 1:
        return f"the {one} {names[0]}"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"the {many} {', '.join(names[:MOST_NAMES])}{more}"


def _class(finding: Finding, pack_of: PackOf) -> str:
    pack = pack_of(finding.name)
    if pack is None:
        return finding.name
    where = f"of the pack {pack.name}" if pack.name else "of another version of ComfyUI"
    return f"{finding.name} ({where}; {pack.backend_id} has it)"


def _model(finding: Finding) -> str:
    return f"{finding.name} ({_instead(finding)})"


def _instead(finding: Finding) -> str:
    if not finding.near:
        return "it has none of that kind"
    more = f" and {finding.further} more" if finding.further else ""
    return f"it has {', '.join(finding.near)}{more}"
