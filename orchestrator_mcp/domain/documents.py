"""Reading a JSON document that nobody vouches for.

The standard reader accepts what must not come further: the same key twice, NaN, numbers of any length, text that no
database can hold, and any depth until the stack ends. Everything here is pure, and linear in the size of the document.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from orchestrator_mcp.errors import ManifestError, Problem, TooLargeError

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 1_000_000
"""Values in one document. Ten million empty objects fit into 16 MiB and would cost 600 MB of memory."""

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1
"""ComfyUI's seeds are unsigned 64-bit numbers."""

_MAX_NUMBER_LENGTH = 400  # characters; more digits than any finite double has
_SURELY_64_BITS: Final = 19  # characters; shorter whole numbers need no further look
_LONE_OR_NUL = re.compile("[\x00\ud800-\udfff]")
_SUSPICIOUS_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_STRINGS = re.compile(r'(?:"[^"]*+"?)++')
_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\Z)'
_CONTAINERS: Final = (dict, list)
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_STEP = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}


class _RefusedError(ValueError):
    """Raised inside the JSON reader's hooks; `literal` is what to look for in the text."""

    def __init__(self, code: str, message: str, literal: str) -> None:
        super().__init__(message)
        self.code = code
        self.literal = literal[:_MAX_NUMBER_LENGTH]


def parse_document(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Read one JSON object, strictly.

    UTF-8 with or without a byte order mark, and UTF-16 with one (old Windows tools write it).

    Args:
        raw: the bytes of the file or body.
        max_bytes: how many bytes it may have.
        max_depth: how deep objects and lists may lie in each other; the document itself is 1.

    Returns:
        The object. All its text can be stored, and all its numbers are finite and within 64 bits.

    Raises:
        ManifestError: it is no such document. The code of its problem is `empty`, `encoding`, `json`, `depth`,
            `duplicate_key`, `number`, `text` or `not_an_object`; the message says where.
        TooLargeError: it has too many bytes or values.
    """
    if len(raw) > max_bytes:
        raise TooLargeError(
            f"The document has {len(raw):,} bytes; at most {max_bytes:,} are taken.",
            hint="Upload pictures as files instead of writing them into the document.",
        )
    text = _decode(raw)
    if not text.strip():
        _refuse("empty", "The document is empty.")
    _check_values(text)
    document = _load(text, max_depth)
    if not isinstance(document, dict):
        _refuse("not_an_object", f"The document is {describe(document)}; an object in braces {{…}} is needed.")
    if text.count("{") + text.count("[") > max_depth and _is_deeper(document, max_depth):
        _refuse_depth(text, max_depth)
    if _SUSPICIOUS_ESCAPE.search(text):
        problems = list(value_problems(document, (), max_depth=max_depth))
        if problems:
            raise ManifestError(problems)
    return document


def is_storable(text: str) -> bool:
    """Whether a database and a file can hold the text: no NUL, no half of a surrogate pair."""
    return _LONE_OR_NUL.search(text) is None


def describe(value: object) -> str:
    """Name a JSON value's type for people, with the value where it is short: `the text '64'`, `a list`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return f"the whole number {value}" if MIN_INTEGER <= value <= MAX_INTEGER else "a whole number beyond 64 bits"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the text {value!a}" if len(value) <= 60 else f"the text {value[:57]!a}…"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "no JSON value"


def value_problems(value: object, path: tuple[str | int, ...], *, max_depth: int = MAX_DEPTH) -> Iterator[Problem]:
    """Find everything in a value that could not be stored or sent on as JSON.

    Values also come in without a document: as the arguments of an MCP call.

    Args:
        value: what was handed in.
        path: where it stands; the problems' paths begin with it.
        max_depth: how deep objects and lists may lie in each other below here.

    Yields:
        One problem for each text, number, key or type that must not pass, in no particular order.
    """
    open_values: list[tuple[object, tuple[str | int, ...], int]] = [(value, path, 0)]
    while open_values:
        item, place, depth = open_values.pop()
        if isinstance(item, dict | list):
            if depth >= max_depth:
                yield Problem(path=place, message=f"lies deeper than {max_depth} levels", code="depth")
                continue
            entries = item.items() if isinstance(item, dict) else enumerate(item)
            for key, inner in entries:
                if isinstance(item, dict) and not (isinstance(key, str) and is_storable(key)):
                    yield Problem(path=place, message=f"the key {ascii(key)[:60]} cannot be stored", code="text")
                    continue
                open_values.append((inner, (*place, key), depth + 1))
        elif (problem := scalar_problem(item, place)) is not None:
            yield problem


def scalar_problem(value: object, path: tuple[str | int, ...]) -> Problem | None:
    """What is wrong with a value that is no object or list, see `value_problems`."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if is_storable(value):
            return None
        return Problem(path=path, message="holds a NUL or half a surrogate pair; take it out", code="text")
    if isinstance(value, int):
        if MIN_INTEGER <= value <= MAX_INTEGER:
            return None
        return Problem(path=path, message="is a whole number beyond 64 bits", code="number")
    if isinstance(value, float):
        if math.isfinite(value):
            return None
        return Problem(path=path, message=f"is {value}; only finite numbers are taken", code="number")
    return Problem(path=path, message=f"is of the type {type(value).__name__}, which JSON does not have", code="json")


def _refuse(code: str, message: str, hint: str | None = None) -> NoReturn:
    raise ManifestError.at(message=message, code=code, hint=hint)


def _decode(raw: bytes) -> str:
    encoding, offset = "utf-8", 0
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        _refuse("encoding", "The document is UTF-32.", "Save it as UTF-8.")
    if raw[:2].count(0) == 1:
        _refuse("encoding", "The document looks like UTF-16 without its byte order mark.", "Save it as UTF-8.")
    for mark, marked in _MARKS.items():
        if raw.startswith(mark):
            encoding, offset = marked, len(mark)
    try:
        return raw[offset:].decode(encoding)
    except UnicodeDecodeError as error:
        name, place = encoding[:6].rstrip("-").upper(), error.start + offset
        _refuse("encoding", f"The document is not {name}: byte {place} cannot be read.", "Save it as UTF-8.")


def _check_values(text: str) -> None:
    """Count the values before the JSON reader makes objects of them."""
    if len(text) < MAX_VALUES:
        return  # no text can hold more values than letters
    outside = _STRINGS.sub("", _ESCAPED.sub("", text) if "\\" in text else text)
    values = outside.count("{") + outside.count("[") + outside.count(",") + 1
    if values > MAX_VALUES:
        raise TooLargeError(f"The document has {values:,} values; at most {MAX_VALUES:,} are taken.")


def _is_deeper(document: Any, most: int) -> bool:
    """Whether objects and lists lie in each other on more than so many levels."""
    level = [document]
    for _ in range(most):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for values in inner for value in values if isinstance(value, _CONTAINERS)]
        if not level:
            return False
    return True


def _refuse_depth(text: str, max_depth: int) -> NoReturn:
    offset = _offset_of_depth(text, max_depth)
    if offset == len(text):
        _refuse("depth", f"The document is nested too deep to be read (the limit set is {max_depth} levels).")
    _refuse("depth", f"The document is nested deeper than {max_depth} levels at {_place(text, offset)}.")


def _offset_of_depth(text: str, max_depth: int) -> int:
    depth = 0
    for match in re.finditer(rf"{_STRING}|[\[\]{{}}]", text, re.DOTALL):
        depth += _STEP.get(ord(match.group()[0]), 0)
        if depth > max_depth:
            return match.start()
    return len(text)


def _load(text: str, max_depth: int) -> Any:
    try:
        return _READER.decode(text)
    except _RefusedError as error:
        _refuse(error.code, f"{error}{_where(text, error)}.")
    except json.JSONDecodeError as error:
        read = text[: error.pos]
        if _offset_of_depth(read, max_depth) < len(read):
            _refuse_depth(text, max_depth)
        hint = "A comma after the last entry, single quotes and comments are the usual causes."
        usual = error.msg.startswith(("Expecting", "Illegal trailing"))
        message = f"The document is not JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        _refuse("json", message, hint if usual else None)
    except RecursionError:
        _refuse_depth(text, max_depth)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
    raise _RefusedError("duplicate_key", f"The key {key[:80]!a} stands twice in one object", key)


def _no_constant(literal: str) -> NoReturn:
    raise _RefusedError("number", f"{literal} is not a JSON number", literal)


def _bounded_int(literal: str) -> int:
    if len(literal) < _SURELY_64_BITS:
        return int(literal)
    if len(literal) > 20 or not MIN_INTEGER <= int(literal) <= MAX_INTEGER:
        raise _RefusedError("number", f"The number {literal[:24]} does not fit into 64 bits", literal)
    return int(literal)


def _finite_float(literal: str) -> float:
    value = float(literal) if len(literal) <= _MAX_NUMBER_LENGTH else math.inf
    if not math.isfinite(value):
        raise _RefusedError("number", f"The number {literal[:24]} is too large or too long", literal)
    return value


_READER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_int=_bounded_int, parse_float=_finite_float
)


def _where(text: str, error: _RefusedError) -> str:
    if error.code == "duplicate_key":
        places = [match.start() for match in re.finditer(re.escape(json.dumps(error.literal)) + r"\s*:", text)]
        return f" (lines {_line(text, places[0])} and {_line(text, places[1])})" if len(places) == 2 else ""
    for match in re.finditer(rf"{_STRING}|({re.escape(error.literal)})", text, re.DOTALL):
        if match.group(1) is not None:
            return f" at {_place(text, match.start())}"
    return ""


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _place(text: str, offset: int) -> str:
    return f"line {_line(text, offset)}, column {offset - text.rfind(chr(10), 0, offset)}"
