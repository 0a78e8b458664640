"""A large batch is confirmed by a person, where one can be asked."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitResult, TextContent

from orchestrator_mcp.domain.batches import extent
from orchestrator_mcp.doors.mcp.tools import build_server
from tests.doors.mcp.farm import ServiceDouble

Era = Literal["auto", "legacy"]
SMALL = {"seed": {"count": 10}}
LARGE = {"seed": {"count": 6}, "steps": [20, 30]}


class Person:
    """Answers what is asked, and remembers it."""

    def __init__(self, answer: ElicitResult) -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.asked.append(params.message)
        return self._answer


YES = ElicitResult(action="accept", content={"render": True})
NO = ElicitResult(action="accept", content={"render": False})
DECLINED = ElicitResult(action="decline")
CLOSED = ElicitResult(action="cancel")


async def submitted(
    batch: dict[str, Any], person: Person | None, era: Era = "auto", **more: Any
) -> tuple[str, list[dict[str, Any] | None]]:
    """What the model is told of a batch, and what the farm was given."""
    farm = ServiceDouble()
    with anyio.fail_after(10):
        async with Client(build_server(farm, version="1"), mode=era, elicitation_callback=person) as client:
            result = await client.call_tool("submit_job", {"workflow_id": "w", "batch": batch, **more})
    assert isinstance(result, CallToolResult) and isinstance(result.content[0], TextContent)
    return result.content[0].text, [manifest.batch for manifest in farm.batch_manifests]


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_large_batch_is_queued_once_a_person_agrees(era: Era) -> None:
    person = Person(YES)
    text, queued = await submitted(LARGE, person, era)
    assert "a batch of 12 jobs" in text and queued == [LARGE]
    assert person.asked == ["The agent wants to queue 12 render jobs in one batch. Shall they be rendered?"]


@pytest.mark.parametrize("era", ["auto", "legacy"])
@pytest.mark.parametrize("answer", [NO, DECLINED, CLOSED])
async def test_nothing_is_queued_without_that(era: Era, answer: ElicitResult) -> None:
    text, queued = await submitted(LARGE, Person(answer), era)
    assert text.startswith("Nothing was queued: the person") and queued == []


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_where_nobody_can_be_asked_it_is_queued_at_once(era: Era) -> None:
    text, queued = await submitted(LARGE, None, era)
    assert "a batch of 12 jobs" in text and queued == [LARGE]


async def test_a_small_batch_is_queued_without_a_question() -> None:
    person = Person(DECLINED)
    _, queued = await submitted(SMALL, person)
    assert queued == [SMALL] and person.asked == []


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"seed": {"count": 6}, "steps": [20, 30]}, 12),
        ({"seed": {"count": 2}, "steps": [20, 30], "mode": "zip"}, 2),
        ({"mode": "product"}, 0),
        ({}, 0),
        ({"seed": {"count": "many"}}, 0),
        ({"seed": {"count": -5}}, 0),
        ({"seed": "x"}, 0),
        ({"steps": []}, 0),
    ],
)
def test_the_extent_of_a_batch_is_known_before_it_is_unfolded(batch: dict[str, Any], expected: int) -> None:
    assert extent(batch) == expected
