"""Waiting for jobs and batches to end, with progress told on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.mcpserver import Context

from orchestrator_mcp.domain.jobs import is_batch_id
from orchestrator_mcp.doors.mcp import answers, batch_answers
from orchestrator_mcp.doors.mcp.callers import caller_of
from orchestrator_mcp.doors.mcp.calls import OpenCalls
from orchestrator_mcp.service import JobService

SMALLEST_STEP: Final = 0.01  # of progress that is worth a notification

Step = tuple[float, str]
"""How far one job or batch is, 0 to 1, and what it does."""


class Following:
    """Waits for jobs, and tells the caller how far they are.

    Args:
        service: what is asked.
        calls: what ends a wait early when the server stops.
    """

    def __init__(self, service: JobService, calls: OpenCalls) -> None:
        self._service = service
        self._calls = calls

    async def wait(self, ctx: Context[Any, Any], ids: Sequence[str], seconds: float) -> None:
        """Return when all of these have ended, or the time is over; nothing is stopped by that.

        Args:
            ctx: of the call: it hears of progress, which never goes back.
            ids: of jobs and batches.
            seconds: 0 or more.

        Raises:
            NotFoundError: one of them does not exist.
            TooManyError: the caller reads as many streams as it may.
        """
        told = 0.0
        with self._calls.wait(seconds):
            for ended, one in enumerate(ids):
                async with self._steps(ctx, one) as steps:
                    async for fraction, message in steps:
                        progress = (ended + fraction) / len(ids)
                        if progress >= told + SMALLEST_STEP:
                            told = progress
                            said = message if len(ids) == 1 else f"{ended + 1} of {len(ids)}: {message}"
                            await ctx.report_progress(progress, 1.0, said)

    @asynccontextmanager
    async def _steps(self, ctx: Context[Any, Any], one: str) -> AsyncIterator[AsyncIterator[Step]]:
        if is_batch_id(one):
            async with self._service.batches.watch(one, by=caller_of(ctx)) as batches:
                yield _batch_steps(batches)
        else:
            async with self._service.watch(one, by=caller_of(ctx)) as events:
                yield _job_steps(events)


async def _job_steps(events: AsyncIterator[Any]) -> AsyncIterator[Step]:
    message = ""
    async for event in events:  # up to the end: by then the files have a path, too
        if event.job is not None:
            if event.job.status in answers.FINAL:
                continue
            message = answers.progress_message(event.job)
        yield event.job.progress if event.job is not None else event.progress or 0.0, message


async def _batch_steps(events: AsyncIterator[Any]) -> AsyncIterator[Step]:
    async for event in events:
        yield event.batch.progress, batch_answers.progress_message(event.batch)
