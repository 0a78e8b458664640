"""The widgets of a node class and what the saved values mean to them, in the order in which ComfyUI makes them.

Saved values carry no names: each belongs to the widget at its place. A place too many or too few, and every later
value lands on the wrong input; so this module knows every widget that takes a place, also those that are never sent.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from orchestrator_mcp.workflows.convert.signature import InputSpec, Signature, read_group

DYNAMIC_COMBO: Final = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW: Final = "COMFY_AUTOGROW_V3"
MATCH_TYPE: Final = "COMFY_MATCHTYPE_V3"

BROWSER_TYPES: Final = frozenset(
    {
        "WEBCAM",
        "AUDIO_RECORD",
        "LOAD_3D",
        "LOAD_3D_ANIMATION",
        "LOAD_3D_ADVANCED",
        "PAINTER",
        "COMPOSITOR",
        "VIDEO_EDIT",
        "COMFY_DYNAMICGROUP_V3",
        "COMFY_BRANCH_INPUT_NAMES",
        "COMFY_BRANCH_SELECTOR",
    }
)
"""Widgets whose value the page makes while it sends; no file has it."""

UNSENT_TYPES: Final = frozenset({"IMAGEUPLOAD", "AUDIOUPLOAD", "AUDIO_UI", "RESOLUTION_PREVIEW"})
"""Buttons and views: part of the node, never of the graph."""

_UNKEPT_TYPES: Final = frozenset({"AUDIO_UI", "IMAGECOMPARE", "RESOLUTION_PREVIEW"})
"""Views that take no place among the saved values."""

PLAIN_TYPES: Final = frozenset(
    {"INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "MARKDOWN", "TEXTAREA", "COLOR", "COLORS", "CURVE", "RANGE"}
    | {"BOUNDING_BOX", "BOUNDING_BOXES", "CHART", "GALLERIA", "LIGHT_INFO_PREVIEW", "PREVIEW_3D", "IMAGECOMPARE"}
)
WIDGET_TYPES: Final = PLAIN_TYPES | BROWSER_TYPES | UNSENT_TYPES | {DYNAMIC_COMBO}

_DEFAULTS: Final[Mapping[str, Any]] = {
    "BOUNDING_BOX": {"x": 0, "y": 0, "width": 512, "height": 512},
    "BOUNDING_BOXES": [],
    "CHART": {},
    "COLOR": "#000000",
    "COLORS": [],
    "CURVE": {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"},
    "GALLERIA": [],
    "IMAGECOMPARE": ["", ""],
    "RANGE": {"min": 0.0, "max": 1.0},
}
OPTION: Final = "option"
INDEX: Final = "index"
"""The widgets that ComfyUI's page adds to `CustomCombo`: its choices, and which of them is chosen."""

CONTROL: Final = "control_after_generate"
_CONTROL_MODES: Final = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
_SEEDS: Final = frozenset({"seed", "noise_seed"})
_MAX_DYNAMIC_DEPTH: Final = 8


class Absent(Enum):
    """The value of a widget that has none."""

    VALUE = "absent"


@dataclass(kw_only=True, slots=True)
class Widget:
    """A widget of one node while the file is being read.

    Attributes:
        name: the input that it fills.
        kind: its type; `control` and `view` for those beside others.
        value: what it holds now.
        sent: whether it becomes an input of the graph.
        kept: whether it has a place among the saved values.
        options: its definition's settings.
        choices: what a combo offers.
        depth: how many dynamic combos it lies in.
    """

    name: str
    kind: str
    value: Any = Absent.VALUE
    sent: bool = True
    kept: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[Any, ...] = ()
    depth: int = 0


def is_widget(spec: InputSpec) -> bool:
    """Whether an input is shown as a widget."""
    return spec.widget_type in WIDGET_TYPES and not spec.forced


def widgets_of(spec: InputSpec, depth: int = 0) -> list[Widget]:
    """Every widget that one input brings, with its default values.

    Args:
        spec: the input.
        depth: how many dynamic combos it lies in.
    """
    kind, options = spec.widget_type, spec.options
    if not is_widget(spec):
        return []
    if kind == DYNAMIC_COMBO:
        return _dynamic_combo(spec, depth)
    widget = Widget(name=spec.name, kind=kind, options=options, depth=depth, sent=kind not in UNSENT_TYPES)
    widget.kept = kind not in _UNKEPT_TYPES
    if kind == "COMBO":
        widget.choices = tuple(_choices(options))
    widget.value = _default(widget)
    return [widget, *_companions(widget)]


def class_widgets(signature: Signature) -> list[Widget]:
    """Every widget of a class, with its default values.

    Args:
        signature: the class.
    """
    sockets_first = [spec for spec in signature.ordered if spec.type == AUTOGROW and not is_widget(spec)]
    grown = [widget for spec in sockets_first for part in grown_parts(spec, ()) for widget in widgets_of(part)]
    return grown + [widget for spec in signature.ordered for widget in widgets_of(spec)]


def own_choices() -> list[Widget]:
    """What the page adds to a `CustomCombo`, whose choices are its own."""
    return [Widget(name="index", kind=INDEX), Widget(name="option1", kind=OPTION, value="")]


def chosen_parts(widget: Widget) -> list[InputSpec]:
    """The inputs that a dynamic combo's present value brings.

    Args:
        widget: the dynamic combo.
    """
    listed = widget.options.get("options")
    for option in listed if isinstance(listed, list) else ():
        if isinstance(option, dict) and option.get("key") == widget.value:
            return list(read_group(option.get("inputs"), f"{widget.name}."))
    return []


def grown_parts(spec: InputSpec, linked: Iterable[str]) -> list[InputSpec]:
    """The inputs that a growing input has: those of its least number, and one beyond the last that is linked.

    Args:
        spec: the growing input.
        linked: the names of the node's linked inputs.
    """
    template = spec.options.get("template")
    if not isinstance(template, dict):
        return []
    parts = list(read_group(template.get("input")))
    names, prefix = template.get("names"), template.get("prefix")
    least, most = _count(template.get("min"), 1), _count(template.get("max"), 100)
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else None
    if listed is not None:
        most = len(listed)

    def named(part: InputSpec, number: int) -> str:
        if listed is not None:
            return f"{spec.name}.{listed[number]}"
        stem = prefix if len(parts) == 1 and isinstance(prefix, str) else "" if len(parts) == 1 else part.name
        return f"{spec.name}.{stem}{number}"

    wanted = set(linked)
    grown: list[InputSpec] = []
    size = least + 1
    for number in range(most):
        names_here = [named(part, number) for part in parts]
        if wanted.intersection(names_here):
            size = max(size, number + 2)
        if number < size:
            grown += [
                InputSpec(name=name, type=part.type, options=part.options, optional=number >= least or part.optional)
                for name, part in zip(names_here, parts, strict=True)
            ]
    return grown


def restore(widgets: list[Widget], values: Sequence[Any] | Mapping[str, Any]) -> int:
    """Give the widgets their saved values; dynamic combos change the list as they get theirs.

    Args:
        widgets: the node's widgets, in order; changed in place.
        values: by place, or by name.

    Returns:
        How many places there were.
    """
    place = at = 0
    while at < len(widgets):
        widget = widgets[at]
        if isinstance(values, Mapping):
            if widget.name in values:
                put(widgets, widget, values[widget.name])
        elif widget.kept:
            if place < len(values):
                put(widgets, widget, values[place])
            place += 1
        at += 1
    return place


def put(widgets: list[Widget], widget: Widget, value: Any) -> None:
    """Set one widget as its node would; a dynamic combo brings the inputs of its new value.

    Args:
        widgets: all widgets of the node; changed in place.
        widget: one of them.
        value: the new value.
    """
    if widget.kind == "STRING" and widget.options.get("multiline"):
        value = "" if value is None else value if isinstance(value, str) else as_text(value)
    widget.value = value
    if widget.kind == OPTION and value and widget is widgets[-1]:
        widgets.append(Widget(name=f"option{len(widgets) - 1}", kind=OPTION, value=""))
    if widget.kind != DYNAMIC_COMBO:
        return
    widgets[:] = [each for each in widgets if not each.name.startswith(f"{widget.name}.")]
    at = next(number for number, each in enumerate(widgets) if each is widget)
    widgets[at + 1 : at + 1] = _parts(widget)


def aligned(signature: Signature, widgets: Sequence[Widget], values: Sequence[Any]) -> Sequence[Any]:
    """Drop the places that old files hold for inputs which are sockets only.

    Args:
        signature: the class.
        widgets: its widgets, with their default values.
        values: the saved values, by place.
    """
    names = {widget.name for widget in widgets}
    unkept = {widget.name for widget in widgets if not widget.kept}
    dummies: list[bool] = []
    for spec in signature.declared:
        if (spec.name in names or spec.forced) and spec.name not in unkept:
            dummies += [spec.forced, False] if spec.options.get(CONTROL) else [spec.forced]
    if not any(dummies) and len(values) == sum(widget.kept for widget in widgets):
        return values
    compact = [value for at, value in enumerate(values) if at >= len(widgets) or widgets[at].kept]
    full = compact if len(compact) == len(dummies) else values if len(values) == len(dummies) else None
    return values if full is None else [value for value, dummy in zip(full, dummies, strict=True) if not dummy]


def as_text(value: object) -> str:
    """A value as a page writes it: `true`, `1` for 1.0, nothing for null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _dynamic_combo(spec: InputSpec, depth: int) -> list[Widget]:
    widget = Widget(name=spec.name, kind=DYNAMIC_COMBO, options=spec.options, depth=depth)
    listed = spec.options.get("options")
    keys = [option.get("key") for option in listed if isinstance(option, dict)] if isinstance(listed, list) else []
    widget.choices = tuple(key for key in keys if isinstance(key, str))
    widget.value = widget.choices[0] if widget.choices else Absent.VALUE
    return [widget, *_parts(widget)]


def _parts(widget: Widget) -> list[Widget]:
    if widget.depth >= _MAX_DYNAMIC_DEPTH:
        return []
    return [made for spec in chosen_parts(widget) for made in widgets_of(spec, widget.depth + 1)]


def _companions(widget: Widget) -> Iterator[Widget]:
    """The widgets that stand after one and are never sent: what happens to a seed after a run, and refreshing."""
    control = widget.options.get(CONTROL)
    if widget.kind == "BOUNDING_BOX":
        yield from (Widget(name=side, kind="view", sent=False) for side in ("x", "y", "width", "height"))
    if widget.kind == "COMBO" and isinstance(widget.options.get("remote"), dict):
        yield Widget(name="Auto-refresh after generation", kind="view", sent=False)
        if widget.options["remote"].get("refresh_button"):
            yield Widget(name="refresh", kind="button", value="refresh")
    if widget.kind == "INT" and control is None:
        control = widget.name in _SEEDS
    if not control or widget.kind not in {"INT", "FLOAT", "COMBO"}:
        return
    named = isinstance(control, str) and control.strip() and control not in _CONTROL_MODES
    yield Widget(name=str(control) if named else CONTROL, kind="control", value="randomize", sent=False)
    if widget.kind == "COMBO" and not widget.options.get("multi_select"):
        yield Widget(name="control_filter_list", kind="control", value="", sent=False)


def _default(widget: Widget) -> Any:
    said = widget.options.get("default")
    match widget.kind:
        case "INT" | "FLOAT":
            return 0 if said is None else said
        case "BOOLEAN":
            return False if said is None else said
        case "STRING" | "MARKDOWN" | "TEXTAREA" | "PREVIEW_3D":
            return "" if said is None else said
        case "COMBO" if widget.options.get("multi_select"):
            return []
        case "COMBO":
            return _first_choice(widget)
        case _ if said is None:
            return copy.deepcopy(_DEFAULTS.get(widget.kind, Absent.VALUE))
        case _:
            return said


def _first_choice(widget: Widget) -> Any:
    if widget.options.get("default"):
        return widget.options["default"]
    if widget.choices:
        return widget.choices[0]
    return "Loading..." if widget.options.get("remote") else Absent.VALUE


def _choices(options: Mapping[str, Any]) -> Iterator[Any]:
    listed = options.get("options")
    yield from listed if isinstance(listed, list) else ()


def _count(said: object, otherwise: int) -> int:
    return min(said, 1_000) if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else otherwise
