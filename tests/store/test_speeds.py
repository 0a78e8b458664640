"""What was learned of how fast backends are outlives the process, and never grows without end."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.speeds import Learned, Speeds
from tests.store.building import NOON, later, opened


def learned(subject: str, seconds: float = 2.0, backend_id: str = "one") -> Learned:
    return Learned(sort="render", backend_id=backend_id, subject=subject, estimate=Estimate.first(seconds))


async def test_what_was_learned_is_there_when_the_file_is_opened_again(path: Path) -> None:
    load = Learned(sort="load", backend_id="one", subject="sdxl", estimate=Estimate.first(9.0))
    async with opened(path) as store:
        await store.backends.keep_speeds([learned("a#0", 2.0), load], NOON)
        await store.backends.keep_speeds([learned("a#0", 3.0)], later(1))
    async with opened(path) as store:
        assert await store.backends.speeds() == [load, learned("a#0", 3.0)]


async def test_what_was_seen_longest_ago_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_mcp.store.backend_store.MOST_SPEEDS", 3)
    async with opened(path) as store:
        for second in range(6):
            await store.backends.keep_speeds([learned(f"kind {second}")], later(second))
        await store.backends.keep_speeds([learned("kind 3", 5.0)], later(9))
        assert [one.subject for one in await store.backends.speeds()] == ["kind 4", "kind 5", "kind 3"]


def test_news_are_told_once_and_recalled_to_the_same_knowledge() -> None:
    first = Speeds()
    for seconds in (2.0, 2.2, 1.9):
        first.rendered("one", "card", 1.0, seconds)
        first.rendered("two", "card", 1.0, 3 * seconds)
    first.loaded("one", "sdxl", 9.0)
    news = first.news()
    assert first.news() == []
    second = Speeds()
    second.recall(news)
    assert second.news() == []
    assert second.pace("two") / second.pace("one") == pytest.approx(3.0, rel=0.3)
    assert second.seconds("card", 1.0) == pytest.approx(first.seconds("card", 1.0), rel=0.1)
    assert second.load("one", "sdxl") == first.load("one", "sdxl")


def test_what_is_not_sound_is_left_out() -> None:
    speeds = Speeds()
    speeds.recall(
        Learned(sort="render", backend_id="one", subject="a#0", estimate=Estimate(mean=mean, deviation=deviation))
        for mean, deviation in ((-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0))
    )
    assert speeds.seconds("a", 1.0) is None
