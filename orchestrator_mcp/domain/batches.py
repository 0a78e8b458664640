"""A batch: one manifest whose parameters take several values, unfolded into the parameters of each job. Pure.

```json
{"seed": {"count": 12, "strategy": "golden_ratio", "base": 42}, "steps": [20, 30], "mode": "product"}
```

Every name but `mode` is a parameter, with a list of values or, for seeds, how many to make. `product` (the default)
combines every value with every other one, the last name changing fastest; `zip` takes the first values together, then
the second ones, and so on.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import count as counted
from itertools import islice, product
from typing import Any, Final

from orchestrator_mcp.domain.documents import describe
from orchestrator_mcp.errors import ManifestError, Problem, nearest

MOST_JOBS: Final = 10_000
MODE: Final = "mode"
MODES: Final = ("product", "zip")
SEED_END: Final = 2**53
"""Seeds made here are below it: the whole numbers that every JSON reader keeps exact."""

_GOLDEN_STEP: Final = 5_566_755_282_872_655  # 2**53 divided by the golden ratio; odd, so that no seed comes twice
_COUNT_KEYS: Final = ("count", "strategy", "base")
_MOST_NAMED: Final = 20  # wrong names that are told at once


class Strategy(StrEnum):
    """How seeds are made from a base; all arithmetic is modulo 2**53, and a number that came before is left out."""

    RANDOM = "random"  # the first 53 bits of SHA-256 of "<base>/<n>" in ASCII, n = 0, 1, 2, …
    SEQUENTIAL = "sequential"  # base, base + 1, base + 2, …
    FIBONACCI = "fibonacci"  # base + 0, 1, 2, 3, 5, 8, 13, …
    GOLDEN_RATIO = "golden_ratio"  # base + n * 5566755282872655: spread as evenly as can be, however many


def varying(batch: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the parameters that differ from job to job, in the order in which they stand."""
    return tuple(name for name in batch if name != MODE)


def extent(batch: Mapping[str, Any]) -> int:
    """How many jobs a batch makes; 0 when it is wrong, which `expand` tells.

    Args:
        batch: the field `batch` of a manifest, as it came.
    """
    lengths = []
    for varied in (batch[name] for name in varying(batch)):
        counted_out = isinstance(varied, Mapping) and _is_whole(varied.get("count"), 1, MOST_JOBS)
        if not counted_out and not isinstance(varied, list):
            return 0
        lengths.append(_length(varied))
    if not lengths:
        return 0
    return max(lengths) if batch.get(MODE) == MODES[1] else math.prod(lengths)


def expand(
    batch: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    most: int = MOST_JOBS,
    draw: Callable[[int], int] = secrets.randbelow,
) -> list[dict[str, Any]]:
    """The parameters of every job of a batch, in their order.

    Args:
        batch: the field `batch` of a manifest, as it came.
        parameters: those that are the same for all jobs.
        most: how many jobs a batch may have.
        draw: makes the base of seeds where none is given: a number from 0 up to, without, its argument.

    Raises:
        ManifestError: it cannot be unfolded, or gives too many jobs.
    """
    mode, problems = batch.get(MODE, MODES[0]), list(_problems(batch, parameters, most))
    if problems:
        raise ManifestError(problems)
    lengths = {name: _length(batch[name]) for name in varying(batch)}
    _check_extent(lengths, zipped=mode == MODES[1], most=most)
    values = [_values(batch[name], draw) for name in lengths]
    rows = zip(*values, strict=True) if mode == MODES[1] else product(*values)
    return [{**parameters, **dict(zip(lengths, row, strict=True))} for row in rows]


def seeds(count: int, strategy: Strategy, base: int) -> list[int]:
    """Seeds from 0 up to, without, 2**53; all different.

    Args:
        count: how many.
        strategy: how they are made.
        base: where they begin, 0 or more and below 2**53.
    """
    return list(islice(_distinct(_numbers(strategy, base)), count))


def _numbers(strategy: Strategy, base: int) -> Iterator[int]:
    match strategy:
        case Strategy.RANDOM:
            return (_hashed(base, n) for n in counted())
        case Strategy.SEQUENTIAL:
            return (base + n for n in counted())
        case Strategy.FIBONACCI:
            return (base + number for number in _fibonacci())
        case Strategy.GOLDEN_RATIO:
            return (base + n * _GOLDEN_STEP for n in counted())


def _hashed(base: int, n: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{base}/{n}".encode("ascii")).digest()[:7], "big") >> 3


def _fibonacci() -> Iterator[int]:
    """0, 1, 2, 3, 5, 8, …, kept below 2**53."""
    yield 0
    before, present = 1, 1
    while True:
        yield present
        before, present = present, (before + present) % SEED_END


def _distinct(numbers: Iterator[int]) -> Iterator[int]:
    seen: set[int] = set()
    for number in (number % SEED_END for number in numbers):
        if number not in seen:
            seen.add(number)
            yield number


def _length(varied: Any) -> int:
    return len(varied) if isinstance(varied, Sequence) else int(varied["count"])


def _values(varied: Any, draw: Callable[[int], int]) -> Sequence[Any]:
    if not isinstance(varied, Mapping):
        return list(varied)
    base = varied.get("base")
    strategy = Strategy(varied.get("strategy") or Strategy.RANDOM)
    return seeds(varied["count"], strategy, draw(SEED_END) if base is None else base)


def _check_extent(lengths: Mapping[str, int], *, zipped: bool, most: int) -> None:
    if zipped and len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {length}" for name, length in islice(lengths.items(), _MOST_NAMED))
        raise ManifestError.at("batch", message=f"with mode zip all need the same number of values: {told}")
    total = max(lengths.values()) if zipped else math.prod(lengths.values())
    if total > most:
        spelled = " x ".join(map(str, islice(lengths.values(), _MOST_NAMED)))
        raise ManifestError.at(
            "batch",
            message=f"it makes {total} jobs ({spelled}), and limits.batch_jobs is {most}",
            code="too_many_jobs",
            hint="Hand it in as several batches.",
        )


def _problems(batch: Mapping[str, Any], parameters: Mapping[str, Any], most: int) -> Iterator[Problem]:
    if batch.get(MODE, MODES[0]) not in MODES:
        yield Problem(path=("batch", MODE), message=f"{describe(batch[MODE])} is no mode", allowed=MODES)
    names = varying(batch)
    if not names:
        yield Problem(path=("batch",), message="name at least one parameter, with a list of values", code="missing")
    for name in islice(names, _MOST_NAMED):
        path = ("batch", name)
        if name in parameters:
            message = "it stands in parameters and in batch; take it out of one of them"
            yield Problem(path=path, message=message, code="conflicting")
        elif isinstance(batch[name], Mapping):
            yield from _count_problems(batch[name], path, most)
        elif not isinstance(batch[name], list):
            wanted = 'a list of values, or for a seed {"count": …, "strategy": …, "base": …}, is needed'
            meant = '; for that many seeds give {"seed": {"count": …}}' if name == "count" else ""
            yield Problem(path=path, message=f"{wanted}, not {describe(batch[name])}{meant}")
        elif not batch[name]:
            yield Problem(path=path, message="the list is empty; give at least one value")


def _count_problems(varied: Mapping[str, Any], path: tuple[str, str], most: int) -> Iterator[Problem]:
    for key in islice((key for key in varied if key not in _COUNT_KEYS), _MOST_NAMED):
        allowed = nearest(key, _COUNT_KEYS, most=1) or _COUNT_KEYS
        yield Problem(path=(*path, key), message="there is no such name here", code="unknown_name", allowed=allowed)
    if not _is_whole(varied.get("count"), 1, most):
        found = describe(varied["count"]) if "count" in varied else "nothing"
        yield Problem(path=(*path, "count"), message=f"a whole number from 1 to {most} is needed, not {found}")
    strategy, base = varied.get("strategy"), varied.get("base")
    if strategy is not None and strategy not in tuple(Strategy):
        message = f"{describe(strategy)} is no strategy"
        yield Problem(path=(*path, "strategy"), message=message, allowed=tuple(one.value for one in Strategy))
    if base is not None and not _is_whole(base, 0, SEED_END - 1):
        message = f"a whole number from 0 to {SEED_END - 1} is needed, not {describe(base)}"
        yield Problem(path=(*path, "base"), message=message)


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
