"""Durations and sizes as people write them in a configuration: "500ms", "14d", "16MiB", "20GB"."""

from __future__ import annotations

import math
import re
from typing import Any

_SECONDS: dict[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: dict[str, float] = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")


def parse_duration(value: Any) -> float:
    """Read a duration.

    Args:
        value: a number of seconds, or a text with a unit: ms, s, m (or min), h, d.

    Returns:
        Seconds, finite and not negative.

    Raises:
        ValueError: it is no duration.
    """
    if isinstance(value, str):
        number, unit = _split(value, {"": 1.0, **_SECONDS})
        return number * unit
    return _plain_number(value)


def parse_size(value: Any) -> int:
    """Read a size.

    Args:
        value: a number of bytes, or a text with a unit: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB
            (powers of 1024). Upper and lower case are the same.

    Returns:
        Bytes, not negative.

    Raises:
        ValueError: it is no size.
    """
    if isinstance(value, str):
        number, unit = _split(value, {"": 1, **_BYTES})
        return round(number * unit)
    number = _plain_number(value)
    if number != int(number):
        raise ValueError("not a whole number of bytes")
    return int(number)


def show_duration(seconds: float) -> str:
    """Write a duration in the largest unit that keeps it short: 900 is `15m`, 0.5 is `500ms`."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:g}{unit}"
    return f"{seconds * 1000:g}ms" if seconds and seconds < 1 else f"{seconds:g}s"


def show_size(size: int) -> str:
    """Write a size in the largest unit that divides it: 16777216 is `16MiB`, 20000000000 is `20GB`."""
    for unit in ("TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB"):
        factor = int(_BYTES[unit.lower()])
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _split(text: str, units: dict[str, float]) -> tuple[float, float]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2].lower() not in units:
        raise ValueError("not a number with a known unit")
    return float(match[1]), units[match[2].lower()]


def _plain_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not 0 <= value < 1e18 or not math.isfinite(value):
        raise ValueError("not a finite number, or negative")
    return float(value)
