"""Where a job or batch stands, as an answer and as the result of a call."""

from __future__ import annotations

import json

from mcp.types import CallToolResult, TextContent

from orchestrator_mcp.domain.jobs import is_batch_id
from orchestrator_mcp.doors.mcp import answers, batch_answers
from orchestrator_mcp.service import JobService


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


def result_of(answer: answers.Answer, *, is_error: bool = False) -> CallToolResult:
    """The result of a call: a structure that is complete in itself, and a text that says the same.

    Args:
        answer: what is told; what is empty in it is left out.
        is_error: whether it is to be taken for one.
    """
    structured = answer.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=structured, is_error=is_error
    )
