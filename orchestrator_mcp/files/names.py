"""Names that every file system takes, and that cannot point elsewhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

UNNAMED: Final = "unnamed"
_UNSAFE = re.compile(r"[^\w.-]")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\.|$)", re.IGNORECASE)


def safe_stem(text: str, *, most_bytes: int = 80) -> str:
    """A file name, without extension, that every file system takes and that cannot point elsewhere.

    Args:
        text: any text, hostile or not.
        most_bytes: longest result in UTF-8 bytes, at least 8.

    Returns:
        Letters, digits, `_`, `-` and inner dots; never empty, hidden, an option, or a Windows device name.
    """
    stem = _UNSAFE.sub("_", unicodedata.normalize("NFC", text[: most_bytes * 4])).lstrip(".-")
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    return _shorten(stem, most_bytes).rstrip(". ") or UNNAMED


def _shorten(text: str, most_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def printable(name: str) -> str:
    """A file name as it can be shown and stored: bytes that are not UTF-8 become `\\xNN`.

    Args:
        name: as `os` gives it, with surrogates for such bytes.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def unique_names(names: Iterable[str]) -> list[str]:
    """The same names in the same order, with `-2`, `-3` … where two would be one file somewhere.

    Names are one when they differ only in case or in Unicode composition (macOS, Windows).
    """
    used: set[str] = set()
    last: dict[str, int] = {}
    found = []
    for name in names:
        key = _folded(name)
        chosen = name
        while _folded(chosen) in used:
            last[key] = last.get(key, 1) + 1
            chosen = numbered(name, last[key])
        used.add(_folded(chosen))
        found.append(chosen)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def numbered(name: str, number: int) -> str:
    """`name` for 1; `name-2.ext` and so on after that."""
    if number <= 1:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem}-{number}.{extension}" if dot and stem else f"{name}-{number}"


def free_names(name: str) -> Iterator[str]:
    """`name`, then `name-2`, `name-3` …: what to try where names may be taken."""
    return (numbered(name, number) for number in range(1, 100_000))
