"""How a preview reaches a model."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, ImageContent, TextContent

from orchestrator_mcp.doors.mcp.tools import build_server
from orchestrator_mcp.errors import NoPreviewError
from orchestrator_mcp.previews.pictures import Picture
from orchestrator_mcp.service import JobPreview
from tests.doors.mcp.farm import JOB, ServiceDouble

SEEN = JobPreview(
    picture=Picture(data=b"jpeg bytes", media_type="image/jpeg", width=8, height=8), text="What it is.", settled=True
)


class Gallery(ServiceDouble):
    """Shows one picture, or says why not."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[tuple[str, ...], str | None, int | None]] = []
        self.refusal: NoPreviewError | None = None

    async def preview(
        self, *job_ids: str, name: str | None = None, longest: int | None = None, base_url: str | None = None
    ) -> JobPreview:
        self.asked.append((job_ids, name, longest))
        if self.refusal is not None:
            raise self.refusal
        return SEEN


@asynccontextmanager
async def connected(farm: ServiceDouble) -> AsyncIterator[Client]:
    with anyio.fail_after(10):
        async with Client(build_server(farm, version="1")) as client:
            yield client


def refused(result: CallToolResult) -> str:
    assert result.is_error and isinstance(result.content[0], TextContent)
    return result.content[0].text


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ({"job_id": JOB}, ((JOB,), None, None)),
        ({"job_id": JOB, "name": "a.png", "longest": 512}, ((JOB,), "a.png", 512)),
        ({"job_id": [JOB, "b"]}, ((JOB, "b"), None, None)),
        ({"job_id": f'["{JOB}", "b"]'}, ((JOB, "b"), None, None)),
    ],
)
async def test_a_preview_is_words_and_a_picture_and_no_structure(arguments: dict[str, Any], asked: Any) -> None:
    farm = Gallery()
    async with connected(farm) as client:
        result = await client.call_tool("get_preview", arguments)
    words, image = result.content
    assert isinstance(words, TextContent) and words.text == "What it is."
    assert isinstance(image, ImageContent) and base64.b64decode(image.data) == b"jpeg bytes"
    assert image.mime_type == "image/jpeg" and result.structured_content is None and not result.is_error
    assert farm.asked == [asked]


async def test_why_there_is_nothing_to_see_reaches_the_model_in_words() -> None:
    farm = Gallery()
    farm.refusal = NoPreviewError("The job waits in the queue.", hint="job_status says what for.")
    async with connected(farm) as client:
        text = refused(await client.call_tool("get_preview", {"job_id": JOB}))
    assert text == "The job waits in the queue. job_status says what for."


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({}, "job_id"), ({"job_id": JOB, "longest": 63}, "longest"), ({"job_id": JOB, "longest": 9000}, "longest")],
)
async def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], expected: str) -> None:
    async with connected(Gallery()) as client:
        text = refused(await client.call_tool("get_preview", arguments))
    assert expected in text and "pydantic" not in text


async def test_an_unknown_argument_is_refused_with_the_allowed_ones() -> None:
    async with connected(Gallery()) as client:
        text = refused(await client.call_tool("get_preview", {"job_id": JOB, "size": 3}))
    assert "size" in text and "longest" in text
