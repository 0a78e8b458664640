"""What an input takes, where a backend says so: a graph alone shows only the value that stands there now. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_mcp.domain.views import ParameterType
from orchestrator_mcp.workflows.convert.signature import InputSpec, read_spec
from orchestrator_mcp.workflows.values import SEED_INPUTS

MAX_CHOICES: Final = 1_000

_KINDS: Final[dict[str, tuple[ParameterType, Any]]] = {
    "INT": ("integer", int),
    "FLOAT": ("number", (int, float)),
    "STRING": ("string", str),
    "BOOLEAN": ("boolean", bool),
}
_UPLOADS: Final[dict[str, ParameterType]] = {
    "image_upload": "image",
    "animated_image_upload": "image",
    "video_upload": "video",
    "audio_upload": "audio",
}
_OPEN: Final = frozenset({"remote", "multiselect", "multi_select", "upload"})


@dataclass(frozen=True, kw_only=True)
class InputType:
    """What one input takes.

    Attributes:
        type: the kind of value.
        minimum: the least number, if there is one.
        maximum: the greatest.
        choices: the only values; empty for any.
    """

    type: ParameterType
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[Any, ...] = ()


class InputTypes:
    """What inputs take, as the backends' classes say.

    Args:
        catalogues: class -> definition, for each backend; many may share one. Of a class the first that has it counts;
            choices, such as model files, are those of all backends together.
    """

    def __init__(self, catalogues: Sequence[Mapping[str, Mapping[str, Any]]] = ()) -> None:
        self._catalogues = tuple({id(one): one for one in catalogues}.values())

    def says_what(self, other: InputTypes) -> bool:
        """Whether it comes from the very catalogues that the other comes from."""
        mine, theirs = self._catalogues, other._catalogues
        return len(mine) == len(theirs) and all(one is another for one, another in zip(mine, theirs, strict=True))

    def of(self, class_type: str, name: str, present: object) -> InputType | None:
        """What an input takes; None where no backend says it, or the graph has something else there.

        Args:
            class_type: the class of the node.
            name: the input.
            present: what stands there now.
        """
        specs = self._specs(class_type, name)
        spec = next(specs, None)
        if spec is None:
            return None
        if spec.type == "COMBO":
            return _choice([spec, *specs], present)
        kind, types = _KINDS.get(spec.type, ("any", ()))
        if not isinstance(present, types) or (isinstance(present, bool) and kind != "boolean"):
            return None
        if kind not in {"integer", "number"} or name in SEED_INPUTS:
            return InputType(type=kind)
        low, high = _bound(spec.options.get("min")), _bound(spec.options.get("max"))
        return InputType(type=kind, minimum=low, maximum=high)

    def _specs(self, class_type: str, name: str) -> Iterator[InputSpec]:
        for catalogue in self._catalogues:
            inputs = catalogue.get(class_type, {}).get("input")
            for section in ("required", "optional"):
                listed = inputs.get(section) if isinstance(inputs, dict) else None
                spec = read_spec(name, listed.get(name)) if isinstance(listed, dict) else None
                if spec is not None:
                    yield spec
                    break


UNKNOWN_TYPES: Final = InputTypes()
"""Where no backend is known."""


def _choice(specs: Sequence[InputSpec], present: object) -> InputType | None:
    options = specs[0].options
    upload = next((kind for key, kind in _UPLOADS.items() if options.get(key)), None)
    if upload is not None:
        return InputType(type=upload) if isinstance(present, str) else None
    if any(options.get(key) for key in _OPEN) or isinstance(present, list | dict):
        return None
    found: dict[object, Any] = {}
    for spec in specs:
        listed = spec.options.get("options")
        for choice in listed if isinstance(listed, list) and spec.type == "COMBO" else ():
            if isinstance(choice, str | int | float):
                found.setdefault(
                    choice.replace("\\", "/") if isinstance(choice, str) else (type(choice), choice), choice
                )
    if not found or len(found) > MAX_CHOICES:
        return None
    return InputType(type="choice", choices=tuple(found.values()))


def _bound(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None
