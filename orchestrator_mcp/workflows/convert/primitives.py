"""Primitive nodes: each pushes its value into the widgets that it is wired to, as those widgets take it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from orchestrator_mcp.workflows.convert.live import Kind, LiveBoard, LiveNode
from orchestrator_mcp.workflows.convert.widgets import Absent, Widget, put

_REPLACE: Final = "Run widget replace on values"
_NUMBERS: Final = frozenset({"INT", "FLOAT"})
_EXACT: Final = 2**53


def push_primitives(boards: Iterable[LiveBoard]) -> list[tuple[LiveBoard, LiveNode]]:
    """Let every primitive of some boards set its targets; muted ones do too, as they do on the page.

    Args:
        boards: the live boards; their widgets are changed in place.

    Returns:
        The primitives whose value the page would have to complete from other nodes; they set nothing.
    """
    refused: list[tuple[LiveBoard, LiveNode]] = []
    for board in boards:
        for node in board.nodes.values():
            if node.kind is not Kind.PRIMITIVE:
                continue
            targets = list(_targets(board, node))
            value = _value(node, [widget for _, widget in targets])
            if value is Absent.VALUE:
                continue
            if node.saved.properties.get(_REPLACE) and isinstance(value, str) and "%" in value:
                refused.append((board, node))
                continue
            for target, widget in targets:
                put(target.widgets, widget, taken(widget, value) if target.kind is Kind.CLASS else value)
    return refused


def taken(widget: Widget, value: Any) -> Any:
    """A value as a number widget takes it: whole ones on the widget's steps, fractions rounded and in range.

    Args:
        widget: the widget.
        value: what it is given.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or widget.kind not in _NUMBERS:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return value
    if widget.kind == "INT":
        return _on_step(value, _number(widget.options.get("step"), 1), _number(widget.options.get("min"), 0))
    return _rounded(widget, value)


def _targets(board: LiveBoard, primitive: LiveNode) -> Iterator[tuple[LiveNode, Widget]]:
    for target, socket in board.fed_by(primitive):
        widget = target.widget_behind(socket)
        if widget is not None:
            yield target, widget


def _value(primitive: LiveNode, targets: list[Widget]) -> Any:
    """What a primitive holds: its saved value if it is of its first target's type, else what that target holds."""
    if not targets:
        return Absent.VALUE
    first = targets[0]
    saved = primitive.saved.values
    outputs = primitive.saved.outputs
    if isinstance(saved, tuple) and saved and outputs and outputs[0].type == first.kind:
        value = saved[0]
    else:
        value = first.value
    if value is None and first.kind == "COMBO" and first.choices:
        value = first.choices[0]
    return _in_range(value, targets) if first.kind in _NUMBERS else value


def _in_range(value: Any, targets: list[Widget]) -> Any:
    """A number within the limits that all targets share."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    least = max(_number(widget.options.get("min"), -math.inf) for widget in targets)
    most = min(_number(widget.options.get("max"), math.inf) for widget in targets)
    return value if least > most else min(max(value, least), most)


def _on_step(value: int | float, step: int | float, least: int | float) -> Any:
    step = step or 1
    if isinstance(value, int) and (step == 1 or abs(value) > _EXACT):
        return value
    if step == 1:
        return math.floor(value + 0.5)
    offset = math.fmod(least, step)
    steps = (value - offset) / step
    if not math.isfinite(steps):
        return value
    made = math.floor(steps + 0.5) * step + offset
    return int(made) if float(made).is_integer() else made


def _rounded(widget: Widget, value: int | float) -> Any:
    step = _number(widget.options.get("step"), 0.5)
    places = max(0, -math.floor(math.log10(step))) if step > 0 else 0
    unit = _number(widget.options.get("round"), 0) or (10.0**-places if places else 0)
    if unit <= 0 or not math.isfinite(value / unit):
        return value
    made = round(math.floor(value / unit + 0.5) * unit, places)
    return min(max(made, _number(widget.options.get("min"), 0)), _number(widget.options.get("max"), 2048))


def _number(said: object, otherwise: float) -> Any:
    if isinstance(said, bool) or not isinstance(said, int | float):
        return otherwise
    return said if isinstance(said, int) or math.isfinite(said) else otherwise
