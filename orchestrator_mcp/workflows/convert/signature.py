"""What a node class asks for, read from a backend's `/object_info` in the order in which ComfyUI shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_AUDIO_PLAYERS: Final = frozenset(
    {"LoadAudio", "SaveAudio", "PreviewAudio", "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced"}
)
"""Classes to which ComfyUI's own page adds a player; it takes no place among the saved values."""

_MODEL_VIEWERS: Final = frozenset({"SaveGLB", "Preview3D"})
"""Classes to which it adds a viewer that is sent along, as an input `image` that servers ignore."""

_UPLOADS: Final = ("image_upload", "video_upload", "animated_image_upload")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """One input of a class.

    Attributes:
        name: its name; parts of dynamic inputs have dotted ones, such as `model.width`.
        type: `INT`, `COMBO`, `IMAGE`, ….
        options: the rest of its definition; a combo's choices are under `options`.
        optional: whether the node runs without it.
    """

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False

    @property
    def forced(self) -> bool:
        """Whether it is a socket only, whatever its type."""
        return bool(self.options.get("forceInput"))

    @property
    def widget_type(self) -> str:
        """The type of widget that shows it, if there is one of that type."""
        said = self.options.get("widgetType")
        return said if isinstance(said, str) and said else self.type


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A class's inputs and outputs.

    Attributes:
        ordered: the inputs in the order of the node's widgets.
        declared: the same inputs in the order of the definition.
        outputs: the types of its outputs.
        display_name: what people call it.
    """

    ordered: tuple[InputSpec, ...]
    declared: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    display_name: str


def read_signature(class_type: str, definition: Mapping[str, Any]) -> Signature:
    """Read one entry of `/object_info`.

    Args:
        class_type: its key.
        definition: its value, as the backend sent it; what is not shaped like a definition is left out.
    """
    declared = tuple(_declared(class_type, definition))
    outputs = definition.get("output")
    listed = outputs if isinstance(outputs, list) else []
    shown = definition.get("display_name")
    return Signature(
        ordered=tuple(_in_order(declared, definition.get("input_order"))),
        declared=declared,
        outputs=tuple(_output_type(kind) for kind in listed),
        display_name=shown if isinstance(shown, str) and shown else class_type,
    )


def read_spec(name: str, said: object, *, optional: bool = False) -> InputSpec | None:
    """Read one input's definition; None when it is none.

    Args:
        name: the input's name.
        said: `[type, options]`, where the type of an old combo is the list of its choices.
        optional: whether it stands among the optional ones.
    """
    if not isinstance(said, list) or not said:
        return None
    options = said[1] if len(said) > 1 and isinstance(said[1], dict) else {}
    if isinstance(said[0], list):
        return InputSpec(name=name, type="COMBO", options={**options, "options": said[0]}, optional=optional)
    if not isinstance(said[0], str):
        return None
    return InputSpec(name=name, type=said[0], options=options, optional=optional)


def read_group(inputs: object, prefix: str = "") -> Iterator[InputSpec]:
    """Read `{"required": {…}, "optional": {…}}`, the form of a class's inputs and of every dynamic part.

    Args:
        inputs: what the definition says.
        prefix: what to put before each name.
    """
    sections = inputs if isinstance(inputs, dict) else {}
    for section in ("required", "optional"):
        listed = sections.get(section)
        for name, said in listed.items() if isinstance(listed, dict) else ():
            spec = read_spec(prefix + name, said, optional=section == "optional")
            if spec is not None:
                yield spec


def _declared(class_type: str, definition: Mapping[str, Any]) -> Iterator[InputSpec]:
    """The definition's own inputs, with those that ComfyUI's page adds after the required ones."""
    specs = list(read_group(definition.get("input")))
    names = {spec.name for spec in specs}
    yield from (spec for spec in specs if not spec.optional)
    yield from (extra for extra in _page_inputs(class_type, specs) if extra.name not in names)
    yield from (spec for spec in specs if spec.optional)


def _page_inputs(class_type: str, specs: list[InputSpec]) -> Iterator[InputSpec]:
    if class_type in _AUDIO_PLAYERS:
        yield InputSpec(name="audioUI", type="AUDIO_UI")
    if class_type in _MODEL_VIEWERS:
        yield InputSpec(name="image", type="PREVIEW_3D")
    required = [spec for spec in specs if not spec.optional]
    if any(spec.type == "COMBO" and any(spec.options.get(key) is True for key in _UPLOADS) for spec in required):
        yield InputSpec(name="upload", type="IMAGEUPLOAD")
    elif any(spec.name == "audio" and spec.options.get("audio_upload") is True for spec in required):
        yield InputSpec(name="upload", type="AUDIOUPLOAD")


def _in_order(declared: tuple[InputSpec, ...], order: object) -> Iterator[InputSpec]:
    """By `input_order`, required ones first; what it does not name comes last."""
    if not isinstance(order, dict):
        yield from declared
        return
    by_name = {spec.name: spec for spec in declared}
    done: set[str] = set()
    for section, optional in (("required", False), ("optional", True)):
        listed = order.get(section)
        for name in listed if isinstance(listed, list) else ():
            spec = by_name.get(name) if isinstance(name, str) else None
            if spec is not None and spec.optional is optional and spec.name not in done:
                done.add(spec.name)
                yield spec
    yield from (spec for spec in declared if spec.name not in done)


def _output_type(kind: object) -> str:
    if isinstance(kind, list):
        return "COMBO"
    return "*" if kind == "COMFY_MATCHTYPE_V3" or not isinstance(kind, str) else kind
