"""Which values an input may take, judged by what stands there now: a graph carries no types of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeGuard

from orchestrator_mcp.domain.documents import describe

SEED_INPUTS: Final = frozenset({"seed", "noise_seed"})
DRAW: Final = -1
"""As a seed: draw one."""
MAX_SEED: Final = 2**64 - 1
_FIRST_INEXACT: Final = 2.0**53  # from here on a float stands for several whole numbers

_FLOAT_WORDS = re.compile(
    r"cfg|guidance|denoise|strength|weight|percent|sigma|shift|megapixels|threshold|factor|ratio|opacity|fidelity"
    r"|^(alpha|beta|eta|fps|frame_rate|temperature|multiplier|speed|creativity|zoom|seconds|rho|mu)"
    r"|augmentation|^scale$|^scale_by$|_scale$|^[sb][12]$|float|\.$"
)
"""Inputs that hold fractions in ComfyUI's own nodes. The browser writes 8.0 as `8`, so a whole number that stands at
one of them does not mean that only whole numbers fit."""

Kind = Literal["string", "integer", "number", "boolean", "any"]

_NEEDED: Final[Mapping[Kind, tuple[str, Any]]] = {
    "boolean": ("true or false", bool),
    "integer": ("a whole number", int),
    "number": ("a number", (int, float)),
    "string": ("text in quotes", str),
}


def holds_fractions(class_type: str, name: str) -> bool:
    """Whether an input may take fractions although a whole number stands there.

    Args:
        class_type: the class of its node.
        name: the input.
    """
    return _FLOAT_WORDS.search(name.casefold()) is not None or (name == "value" and "float" in class_type.casefold())


def kind_of(present: object, *, fractions: bool = False) -> Kind:
    """The type that a value at an input must have.

    Args:
        present: what stands there now.
        fractions: the input may take fractions, see `holds_fractions`.
    """
    if isinstance(present, bool):
        return "boolean"
    if isinstance(present, int):
        return "number" if fractions else "integer"
    if isinstance(present, float):
        return "number"
    return "string" if isinstance(present, str) else "any"


def mismatch(present: object, given: object, *, fractions: bool = False) -> str | None:
    """Why a value cannot take the place of another; None when it can.

    Args:
        present: what stands there now.
        given: what shall stand there.
        fractions: the input may take fractions, see `holds_fractions`.
    """
    if given is None:
        return "null was given; leave the parameter out to keep what the workflow has"
    words, types = _NEEDED.get(kind_of(present, fractions=fractions)) or _like(present)
    if isinstance(given, types) and (not isinstance(given, bool) or words == "true or false" or present is None):
        return None
    mend = ""
    if words == "a whole number" and isinstance(given, float):
        mend = f"; if the node takes fractions, write {float(_int(present))!r} in the workflow"
    return f"{describe(given)} was given; {words} is needed, as {describe(present)} stands there now{mend}"


def is_whole(given: object) -> TypeGuard[float]:
    """Whether a value is a fraction without one, such as 20.0, that stands for exactly one whole number."""
    return isinstance(given, float) and given.is_integer() and abs(given) < _FIRST_INEXACT


def seed_fault(given: object) -> str | None:
    """Why a whole number is no seed; None when it is one."""
    if isinstance(given, int) and not isinstance(given, bool) and not DRAW <= given <= MAX_SEED:
        return f"{describe(given)} was given; a seed is 0 to {MAX_SEED}, or -1 to draw one"
    return None


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal; 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(left, right) for left, right in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return one == other


def _like(present: object) -> tuple[str, Any]:
    if isinstance(present, list):
        return "a list", list
    if isinstance(present, dict):
        return "an object", dict
    return "a text, number, true or false", (str, int, float)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
