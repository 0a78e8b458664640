"""How a node class is described, and the JSON that ``/object_info`` gives for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Choices = Callable[[str], list[str]]
"""Gives the present options of a live combo by its source, such as ``checkpoints`` or ``pictures``."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One input of a node class.

    Attributes:
        kind: A type name such as ``INT`` or ``IMAGE``; ignored for combos.
        options: Fixed combo options, or None.
        source: Where a live combo takes its options from, or None.
        config: Limits, default and remarks; None leaves the part out, as many ComfyUI classes do.
    """

    kind: str = "COMBO"
    options: tuple[str, ...] | None = None
    source: str | None = None
    config: Mapping[str, Any] | None = None

    def input_type(self, choices: Choices) -> str | list[str]:
        """Give the type as ComfyUI does: a name, or the list of a combo's options.

        Args:
            choices: Looks live options up.
        """
        if self.source is not None:
            return choices(self.source)
        if self.options is not None:
            return list(self.options)
        return self.kind

    def described(self, choices: Choices) -> list[Any]:
        """Give the ``/object_info`` entry of this input.

        Args:
            choices: Looks live options up.
        """
        entry: list[Any] = [self.input_type(choices)]
        if self.config is not None:
            entry.append(dict(self.config))
        return entry


@dataclass(frozen=True, kw_only=True)
class NodeClass:
    """One node class: its face to clients, and nothing about how it works.

    Attributes:
        name: The ``class_type``.
        category: Where a menu shows it.
        display_name: What a menu calls it; None where ComfyUI gives none.
        module: The module that ComfyUI says it comes from.
        required: Inputs that must be given, in order.
        optional: Inputs that may be given, in order.
        hidden: Inputs that the server fills in, such as ``prompt``.
        outputs: Pairs of type and name.
        output_lists: For each output, whether it is a list of values.
        output_node: Whether a prompt may end here.
        newer_style: Whether ComfyUI describes it with the keys of its third node interface.
        takes_lists: Whether it is called once with whole lists, not once per item.
        description: What it does, in a sentence.
    """

    name: str
    category: str
    display_name: str | None
    module: str = "nodes"
    required: Mapping[str, Slot] = field(default_factory=dict)
    optional: Mapping[str, Slot] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[tuple[str, str], ...] = ()
    output_lists: tuple[bool, ...] = ()
    output_node: bool = False
    newer_style: bool = False
    takes_lists: bool = False
    description: str = ""

    def described(self, choices: Choices) -> dict[str, Any]:
        """Give the ``/object_info`` entry of this class.

        Args:
            choices: Looks live combo options up.
        """
        inputs: dict[str, Any] = {"required": _described(self.required, choices)}
        if self.optional:
            inputs["optional"] = _described(self.optional, choices)
        if self.hidden:
            inputs["hidden"] = dict(self.hidden)
        entry: dict[str, Any] = {
            "input": inputs,
            "input_order": {group: list(slots) for group, slots in inputs.items()},
            "output": [kind for kind, _ in self.outputs],
            "output_is_list": list(self.output_lists or (False,) * len(self.outputs)),
            "output_name": [name for _, name in self.outputs],
            "name": self.name,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": self.module,
            "category": self.category,
            "output_node": self.output_node,
        }
        if self.newer_style:
            entry["output_tooltips"] = [None] * len(self.outputs)
            entry.update(deprecated=False, experimental=False, api_node=False)
        return entry

    @property
    def lists(self) -> tuple[bool, ...]:
        """For each output, whether it is a list of values."""
        return self.output_lists or (False,) * len(self.outputs)


def _described(slots: Mapping[str, Slot], choices: Choices) -> dict[str, Any]:
    return {name: slot.described(choices) for name, slot in slots.items()}


def link(kind: str, **config: Any) -> Slot:
    """Describe an input that is fed by another node.

    Args:
        kind: The type name, such as ``IMAGE``.
        config: What else is said of it; nothing leaves the part out.
    """
    return Slot(kind=kind, config=config or None)


def whole(default: int, low: int, high: int, step: int | None = None, **more: Any) -> Slot:
    """Describe a whole-number input.

    Args:
        default: Its default.
        low: The least value.
        high: The greatest value.
        step: The step of its widget.
        more: What else is said of it.
    """
    return Slot(kind="INT", config=_limits(default, low, high, step) | more)


def real(default: float, low: float, high: float, step: float | None = None, **more: Any) -> Slot:
    """Describe a number input.

    Args:
        default: Its default.
        low: The least value.
        high: The greatest value.
        step: The step of its widget.
        more: What else is said of it.
    """
    return Slot(kind="FLOAT", config=_limits(default, low, high, step) | more)


def text(**config: Any) -> Slot:
    """Describe a text input.

    Args:
        config: Its default and what else is said of it.
    """
    return Slot(kind="STRING", config=config)


def one_of(*options: str, **config: Any) -> Slot:
    """Describe a combo with fixed options.

    Args:
        options: The options, in order.
        config: What else is said of it; nothing leaves the part out.
    """
    return Slot(options=options, config=config or None)


def present(source: str, **config: Any) -> Slot:
    """Describe a combo whose options are the files that are there.

    Args:
        source: A model folder, or ``pictures`` for the files of the input folder.
        config: What else is said of it; nothing leaves the part out.
    """
    return Slot(source=source, config=config or None)


def _limits(default: float, low: float, high: float, step: float | None) -> dict[str, Any]:
    limits: dict[str, Any] = {"default": default, "min": low, "max": high}
    if step is not None:
        limits["step"] = step
    return limits
