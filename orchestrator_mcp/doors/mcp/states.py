"""Where a job or batch stands, as an answer and as the result of a call."""

from __future__ import annotations

import json
from typing import Final

from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent
from mcp.types.version import is_version_at_least

from orchestrator_mcp.domain.jobs import is_batch_id
from orchestrator_mcp.doors.mcp import answers, batch_answers
from orchestrator_mcp.doors.mcp.resources import LARGEST_OUTPUT, output_uri
from orchestrator_mcp.service import JobService

_MOST_LINKS: Final = 4  # more files are named in the structure alone
_LINKS_SINCE: Final = "2025-06-18"  # older clients refuse blocks that they do not know


async def state_of(service: JobService, one: str, *, base_url: str | None) -> answers.JobAnswer:
    """Where a job or batch stands.

    Args:
        service: what is asked.
        one: its id.
        base_url: what the urls of its files begin with.

    Raises:
        NotFoundError: there is none.
    """
    if not is_batch_id(one):
        return answers.job_answer(await service.job(one, base_url=base_url))
    view = await service.batches.batch(one, base_url=base_url)
    outputs = await service.batches.outputs(one, base_url=base_url) if view.status in answers.FINAL else []
    failures = await service.batches.failures(one) if view.counts["failed"] else []
    waiting = await service.jobs(batch_id=one, status=["queued"], limit=1) if view.status == "queued" else None
    return batch_answers.batch_answer(view, outputs, failures, waiting=waiting.jobs if waiting else ())


def result_of(answer: answers.Answer, *, is_error: bool = False, revision: str | None = None) -> CallToolResult:
    """The result of a call: a structure that is complete in itself, a text that says the same, and links to files.

    Links are for people whose program shows them; many programs drop them, so nothing stands in them alone.

    Args:
        answer: what is told; what is empty in it is left out.
        is_error: whether it is to be taken for one.
        revision: of the protocol, as the client speaks it; without it there are no links.
    """
    structured = answer.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
    content: list[ContentBlock] = [TextContent(type="text", text=text)]
    if revision is not None and is_version_at_least(revision, _LINKS_SINCE):
        content += _links(answer)
    return CallToolResult(content=content, structured_content=structured, is_error=is_error)


def _links(answer: answers.Answer) -> list[ResourceLink]:
    """The files of one job by the address at which this server lets them be read."""
    if not isinstance(answer, answers.JobAnswer) or answer.job_id is None or is_batch_id(answer.job_id):
        return []
    return [
        ResourceLink(
            name=output.name,
            uri=output_uri(answer.job_id, output.name) if output.size <= LARGEST_OUTPUT else output.url,
            mime_type=output.media_type,
            size=output.size,
        )
        for output in answer.outputs[:_MOST_LINKS]
    ]
