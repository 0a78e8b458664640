from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.files import printable, safe_stem, unique_names

HOSTILE = st.text(st.characters(exclude_categories=()), max_size=300)
RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(10))}


@given(HOSTILE, st.integers(8, 120))
def test_a_safe_stem_is_safe_on_every_file_system(text: str, most: int) -> None:
    stem = safe_stem(text, most_bytes=most)
    assert 0 < len(stem.encode("utf-8")) <= most
    assert not set(stem) & set('/\\:*?"<>|\x00\n\r\t %')
    assert stem[0] not in ".-" and stem[-1] not in ". "
    assert stem.split(".")[0].casefold() not in RESERVED


@given(HOSTILE)
def test_a_safe_stem_stays_as_it_is(text: str) -> None:
    assert safe_stem(safe_stem(text)) == safe_stem(text)


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("shot_010", "shot_010"),
        ("a shot (3)", "a_shot__3_"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("--rm -rf", "rm_-rf"),
        (".hidden", "hidden"),
        ("CON", "_CON"),
        ("nul.tar", "_nul.tar"),
        ("com¹", "_com¹"),
        ("console", "console"),
        ("ends. ", "ends._"),
        ("ends...", "ends"),
        ("ünïcode 東京", "ünïcode_東京"),
        ("C:\\x", "C__x"),
        ("\ud800", "_"),
    ],
)
def test_a_stem_keeps_what_it_can(text: str, stem: str) -> None:
    assert safe_stem(text) == stem


def test_one_name_in_two_compositions_gives_one_stem() -> None:
    assert safe_stem(unicodedata.normalize("NFD", "café")) == safe_stem(unicodedata.normalize("NFC", "café"))


def test_a_stem_is_cut_between_characters() -> None:
    assert safe_stem("é" * 100, most_bytes=9) == "é" * 4


def test_twins_in_case_and_composition_get_numbers() -> None:
    twin = unicodedata.normalize("NFD", "café.png")
    assert unique_names(["A.png", "a.png", "a.png", "café.png", twin]) == [
        "A.png",
        "a-2.png",
        "a-3.png",
        "café.png",
        unicodedata.normalize("NFD", "café") + "-2.png",
    ]


def test_a_number_never_meets_a_name_that_was_there() -> None:
    assert unique_names(["a-2.png", "a.png", "a.png", "b", "b"]) == ["a-2.png", "a.png", "a-3.png", "b", "b-2"]


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-2-2", "b.png", "B.PNG", ".x", "ß", "ss"]), max_size=30))
def test_unique_names_are_unique_whatever_the_case(names: list[str]) -> None:
    found = unique_names(names)
    assert len({name.casefold() for name in found}) == len(names) == len(found)


def test_ten_thousand_equal_names_take_linear_time() -> None:
    assert unique_names(["a.png"] * 10_000)[-1] == "a-10000.png"


def test_a_name_that_is_not_utf8_can_be_shown() -> None:
    assert printable(b"caf\xe9.json".decode("utf-8", "surrogateescape")) == "caf\\xe9.json"
    assert printable("東京.json") == "東京.json"
