"""What a batch unfolds to, and what it is refused for."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.batches import MOST_JOBS, SEED_END, Strategy, expand, seeds, varying
from orchestrator_mcp.errors import ManifestError

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(lambda name: name != "mode")
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4)
lists = st.lists(scalars, min_size=1, max_size=5)
counts = st.fixed_dictionaries(
    {"count": st.integers(1, 6)},
    optional={"strategy": st.sampled_from([one.value for one in Strategy]), "base": st.integers(0, SEED_END - 1)},
)
batches = st.dictionaries(names, lists | counts, min_size=1, max_size=4)
junk = st.recursive(
    scalars | st.floats(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner)
)


def refused(batch: dict[str, Any], parameters: dict[str, Any] | None = None, *, most: int = MOST_JOBS) -> str:
    with pytest.raises(ManifestError) as caught:
        expand(batch, parameters or {}, most=most)
    return str(caught.value)


def length(values: Any) -> int:
    return len(values) if isinstance(values, list) else int(values["count"])


@given(batch=batches, mode=st.sampled_from([{}, {"mode": "product"}]))
def test_a_product_has_every_combination_once_in_the_order_of_nested_loops(
    batch: dict[str, Any], mode: dict[str, str]
) -> None:
    jobs = expand({**batch, **mode}, {})
    assert len(jobs) == math.prod(map(length, batch.values()))
    assert all(set(job) == set(batch) for job in jobs)
    for position, job in enumerate(jobs):
        for name in reversed(list(batch)):
            position, index = divmod(position, length(batch[name]))
            if isinstance(batch[name], list):
                assert job[name] == batch[name][index]


@given(rows=st.lists(st.tuples(scalars, scalars), min_size=1, max_size=9))
def test_a_zip_takes_the_values_of_one_place_together(rows: list[tuple[Any, Any]]) -> None:
    batch = {"a": [row[0] for row in rows], "b": [row[1] for row in rows], "mode": "zip"}
    assert expand(batch, {"c": 1}) == [{"a": a, "b": b, "c": 1} for a, b in rows]


@given(batch=batches, parameters=st.dictionaries(names, scalars, max_size=3))
def test_what_does_not_vary_is_the_same_for_all_and_is_never_overruled(
    batch: dict[str, Any], parameters: dict[str, Any]
) -> None:
    if set(batch) & set(parameters):
        assert "take it out of one of them" in refused(batch, parameters)
    else:
        assert all({**parameters, **job} == job for job in expand(batch, parameters))


@given(count=st.integers(1, 200), strategy=st.sampled_from(Strategy), base=st.integers(0, SEED_END - 1))
def test_seeds_are_all_different_within_53_bits_and_the_same_again_with_the_same_base(
    count: int, strategy: Strategy, base: int
) -> None:
    made = seeds(count, strategy, base)
    assert len(set(made)) == count
    assert all(0 <= seed < SEED_END for seed in made)
    assert made == seeds(count, strategy, base)
    assert seeds(count + 1, strategy, base)[:count] == made


@given(batch=st.dictionaries(st.text(max_size=9), junk, max_size=4))
def test_no_json_does_more_than_being_refused(batch: dict[str, Any]) -> None:
    try:
        jobs = expand(batch, {})
    except ManifestError as error:
        assert error.problems
    else:
        assert jobs


def test_the_seeds_of_each_strategy_are_as_documented() -> None:
    assert seeds(4, Strategy.SEQUENTIAL, 42) == [42, 43, 44, 45]
    assert seeds(7, Strategy.FIBONACCI, 42) == [42, 43, 44, 45, 47, 50, 55]
    assert seeds(3, Strategy.GOLDEN_RATIO, 42) == [42, 5566755282872697, 2126311311004360]
    assert seeds(3, Strategy.RANDOM, 42) == [8177642283232646, 1629192100036313, 1809899877140247]
    assert seeds(2, Strategy.SEQUENTIAL, SEED_END - 1) == [SEED_END - 1, 0]


def test_ten_thousand_seeds_of_each_strategy_are_different() -> None:
    for strategy in Strategy:
        assert len(set(seeds(10_000, strategy, 7))) == 10_000


def test_without_a_base_one_is_drawn() -> None:
    jobs = expand({"seed": {"count": 3, "strategy": "sequential"}}, {}, draw=lambda end: end - 2)
    assert [job["seed"] for job in jobs] == [SEED_END - 2, SEED_END - 1, 0]
    assert expand({"seed": {"count": 3}}, {}) != expand({"seed": {"count": 3}}, {})


def test_the_names_that_vary_are_told_in_their_order() -> None:
    assert varying({"steps": [1], "mode": "zip", "seed": [1]}) == ("steps", "seed")


def test_lists_of_different_lengths_are_named_when_they_are_zipped() -> None:
    words = refused({"mode": "zip", "seed": [1, 2, 3], "steps": [20, 30]})
    assert "'seed' has 3" in words
    assert "'steps' has 2" in words


def test_more_jobs_than_allowed_are_refused_before_one_is_made() -> None:
    words = refused({str(n): list(range(1000)) for n in range(12)})
    assert "1000000000000000000000000000000000000 jobs" in words
    assert "limits.batch_jobs is 10000" in words
    assert len(expand({"a": [1, 2], "b": [1, 2]}, {}, most=4)) == 4
    assert "4 jobs" in refused({"a": [1, 2], "b": [1, 2]}, most=3)


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ({}, "name at least one parameter"),
        ({"mode": "zip"}, "name at least one parameter"),
        ({"seed": []}, "batch.seed: the list is empty"),
        ({"seed": 7}, "batch.seed: a list of values"),
        ({"seed": [1], "mode": "all"}, "batch.mode: the text 'all' is no mode"),
        ({"seed": {}}, "batch.seed.count: a whole number from 1 to 10000 is needed, not nothing"),
        ({"seed": {"count": True}}, "not true"),
        ({"seed": {"count": 10_001}}, "not the whole number 10001"),
        ({"seed": {"count": 2, "strategy": "fibonaci"}}, "the text 'fibonaci' is no strategy"),
        ({"seed": {"count": 2, "base": -1}}, "batch.seed.base: a whole number from 0"),
        ({"seed": {"count": 2, "base": 2**53}}, "batch.seed.base: a whole number from 0"),
        ({"seed": {"count": 2, "bass": 1}}, "batch.seed.bass: there is no such name here"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(batch: dict[str, Any], told: str) -> None:
    assert told in refused(batch)


def test_an_unknown_strategy_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ManifestError) as caught:
        expand({"seed": {"count": 2, "strategy": "dice"}}, {})
    assert caught.value.problems[0].allowed == ("random", "sequential", "fibonacci", "golden_ratio")
