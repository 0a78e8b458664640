"""The strict JSON reader: what it takes, what it refuses, and that nothing else ever comes out of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.documents import MAX_VALUES, parse_document, value_problems
from orchestrator_mcp.errors import ManifestError, TooLargeError
from tests.workflows.graphs import STEADY

STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STORABLE
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STORABLE, inner, max_size=4), max_leaves=20
)
DOCUMENTS = st.dictionaries(STORABLE, VALUES, max_size=5)


def refusal(raw: bytes, **limits: int) -> tuple[str, str]:
    with pytest.raises(ManifestError) as caught:
        parse_document(raw, **limits)
    return caught.value.problems[0].code, str(caught.value)


@STEADY
@given(DOCUMENTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_a_good_document_reads_as_the_standard_reader_reads_it(
    document: dict[str, Any], encoding: str, escaped: bool
) -> None:
    text = json.dumps(document, ensure_ascii=escaped)
    assert parse_document(text.encode(encoding)) == json.loads(text)


@STEADY
@given(st.binary(max_size=200) | st.text('[]{}",:\\u0123dD8eE-+.NaInfty \n\x00é', max_size=200).map(str.encode))
def test_no_bytes_make_it_raise_anything_but_a_refusal(raw: bytes) -> None:
    try:
        document = parse_document(raw)
    except (ManifestError, TooLargeError) as error:
        assert str(error)
    else:
        assert list(value_problems(document, ())) == []
        assert document == json.loads(raw.decode("utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"))


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (b"", "empty", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty", "empty"),
        (b'{"a": "\xe9"}', "encoding", "byte 7"),
        ('{"a": 1}'.encode("utf-32"), "encoding", "UTF-32"),
        ('{"a": 1}'.encode("utf-16-le"), "encoding", "UTF-16"),
        ('{"a": 1}'.encode("utf-16-be"), "encoding", "UTF-16"),
        (b"\xff\xfe{\x00}", "encoding", "UTF-16"),
        (b'\xff\xfe"\x00\x00\xd8"\x00', "encoding", "UTF-16: byte 4"),
        (b"[1]", "not_an_object", "a list"),
        (b'"x"', "not_an_object", "the text 'x'"),
        (b'{"a": 1,\n}', "json", "line 2, column 1"),
        (b'{"a": 1 // why\n}', "json", "comments"),
        (b'{"a": "\x00"}', "json", "control character"),
        (b'{"a": 1,\n "b": {"steps": 1, "steps": 2}}', "duplicate_key", "'steps' stands twice in one object"),
        (b'{"a": 1,\n "a": 1}', "duplicate_key", "lines 1 and 2"),
        (b'{"a": "NaN",\n "b": NaN}', "number", "NaN is not a JSON number at line 2, column 7"),
        (b'{"a": -Infinity}', "number", "-Infinity"),
        (b'{"a": 1e999}', "number", "1e999"),
        (b'{"a": 18446744073709551616}', "number", "64 bits"),
        (b'{"a": -9223372036854775809}', "number", "64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number", "64 bits"),
        (b'{"a": 0.' + b"1" * 5000 + b"}", "number", "too long"),
        (b'{"a": ["\\ud800"]}', "text", "a.0"),
        (b'{"a": {"b": "x\\u0000"}}', "text", "a.b"),
        (b'{"a": {"\\udfff": 1}}', "text", "key"),
    ],
)
def test_a_refusal_names_the_kind_and_the_place(raw: bytes, code: str, words: str) -> None:
    found, message = refusal(raw)
    assert found == code
    assert words in message


def test_the_limits_of_64_bits_are_inside() -> None:
    assert parse_document(b'{"a": [18446744073709551615, -9223372036854775808]}') == {"a": [2**64 - 1, -(2**63)]}


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert parse_document(rb'{"a": "\ud83d\ude00"}') == {"a": "\N{GRINNING FACE}"}


def test_the_deepest_allowed_document_passes_and_one_level_more_does_not() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    assert parse_document(nested(64), max_depth=64)
    code, message = refusal(nested(65), max_depth=64)
    assert code == "depth"
    assert "line 1, column 321" in message


@pytest.mark.parametrize("raw", [b'{"a":' + b"[" * 100_000, b'{"a":"\\"' + b"[" * 100_000 + b'"}'])
def test_brackets_count_only_outside_text(raw: bytes) -> None:
    if raw.endswith(b"}"):
        assert len(parse_document(raw)["a"]) == 100_001
    else:
        assert refusal(raw)[0] == "depth"


def test_depth_beyond_the_readers_own_stack_is_a_refusal_too() -> None:
    assert refusal(b'{"a":' + b"[" * 100_000, max_depth=10**6)[0] == "depth"


def test_a_document_over_the_byte_limit_is_refused_unread() -> None:
    with pytest.raises(TooLargeError, match="at most 4"):
        parse_document(b"\xff\xff\xff\xff\xff", max_bytes=4)


def test_a_swarm_of_tiny_values_is_refused_before_they_become_objects() -> None:
    with pytest.raises(TooLargeError, match=r"values; at most 1,000,000"):
        parse_document(b'{"a":[' + b"{}," * MAX_VALUES + b"{}]}")


def test_values_that_came_without_a_document_are_checked_alike() -> None:
    found = {(problem.path, problem.code) for problem in value_problems({"a": [float("nan"), 2**64, "\x00", {1}]}, ())}
    assert found == {(("a", 0), "number"), (("a", 1), "number"), (("a", 2), "text"), (("a", 3), "json")}
