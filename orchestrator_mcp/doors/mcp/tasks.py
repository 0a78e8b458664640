"""The tasks extension (io.modelcontextprotocol/tasks): a submitted job as a task, for clients that declare it.

A task is a job under another name: its id is the `job_id`, so it outlives this process, and nothing is stored for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ClientCapabilities,
    RequestParams,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from orchestrator_mcp.clock import format_time
from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.jobs import is_batch_id
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.doors.mcp import answers
from orchestrator_mcp.doors.mcp.callers import sender_of, urls_seen_by
from orchestrator_mcp.doors.mcp.greeting import TASKS
from orchestrator_mcp.doors.mcp.refusals import spell
from orchestrator_mcp.doors.mcp.states import result_of, state_of
from orchestrator_mcp.errors import JobFinishedError, OrchestratorError
from orchestrator_mcp.service import JobService

_MODERN: Final = frozenset(MODERN_PROTOCOL_VERSIONS)
_STATUS: Final = {"completed": "completed", "failed": "completed", "cancelled": "cancelled"}
"""A job that fails is a call that completes with an error: `failed` is for the protocol's own errors."""

Ctx = ServerRequestContext[Any, Any]


class TaskParams(RequestParams):
    """The parameters of `tasks/get` and `tasks/cancel`."""

    task_id: str


class UpdateParams(TaskParams):
    """The parameters of `tasks/update`."""

    input_responses: dict[str, Any] = {}


class JobTasks(Extension):
    """Jobs as tasks.

    Args:
        service: where the jobs are.
        public_url: what the urls of outputs begin with; the caller's own Host when None.
    """

    identifier = TASKS

    def __init__(self, service: JobService, *, public_url: str | None) -> None:
        self._service = service
        self._public_url = public_url

    def methods(self) -> Sequence[MethodBinding]:
        """What clients ask about tasks."""
        return [
            MethodBinding("tasks/get", TaskParams, self._get, _MODERN),
            MethodBinding("tasks/update", UpdateParams, self._update, _MODERN),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, _MODERN),
        ]

    async def intercept_tool_call(self, params: CallToolRequestParams, ctx: Ctx, call_next: CallNext) -> HandlerResult:
        """Answer a submission with a task, where the client has said that it understands one."""
        result = await call_next(ctx)
        if params.name != "submit_job" or not _declares(ctx) or not isinstance(result, CallToolResult):
            return result
        job_id = (result.structured_content or {}).get("job_id")
        if result.is_error or not isinstance(job_id, str):
            return result  # refused, or only tried out
        return {"resultType": "task", **_task(job_id, *await self._seen(job_id, ctx))}

    async def _get(self, ctx: Ctx, params: TaskParams) -> HandlerResult:
        _check(ctx, params)
        return {"resultType": "complete", **await self.told(params.task_id, ctx)}

    async def told(self, task_id: str, ctx: Ctx) -> dict[str, Any]:
        """A task as it stands now, with its result when it has one.

        Args:
            task_id: the job's id.
            ctx: of the request that it is told to.

        Raises:
            MCPError: there is none.
        """
        view, state = await self._seen(task_id, ctx)
        task = _task(task_id, view, state)
        if task["status"] == "completed":
            result = result_of(state, is_error=view.status == "failed", revision=ctx.protocol_version)
            task["result"] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return task

    async def _update(self, ctx: Ctx, params: UpdateParams) -> HandlerResult:
        """Take the answers to what was asked. Nothing is, so all are ignored, as those that come twice would be."""
        _check(ctx, params)
        await self._seen(params.task_id, ctx)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Ctx, params: TaskParams) -> HandlerResult:
        _check(ctx, params)
        cancel = self._service.batches.cancel if is_batch_id(params.task_id) else self._service.cancel
        try:
            await cancel(params.task_id, by=sender_of(ctx.request))
        except JobFinishedError:
            pass  # too late, which is no error: the task shows how it ended
        except OrchestratorError as error:
            raise MCPError(INVALID_PARAMS, spell(error)) from error
        return {"resultType": "complete"}

    async def _seen(self, task_id: str, ctx: Ctx) -> tuple[JobView | BatchView, answers.JobAnswer]:
        begin = urls_seen_by(ctx.request, self._public_url)
        try:
            state = await state_of(self._service, task_id, base_url=begin)
            if is_batch_id(task_id):
                return await self._service.batches.batch(task_id), state
            return await self._service.job(task_id), state
        except OrchestratorError as error:
            raise MCPError(INVALID_PARAMS, spell(error)) from error


def _task(task_id: str, view: JobView | BatchView, state: answers.JobAnswer) -> dict[str, Any]:
    changed = view.finished_at or view.started_at or view.submitted_at
    return {
        "taskId": task_id,
        "status": _STATUS.get(view.status, "working"),
        "statusMessage": _message(state),
        "createdAt": format_time(view.submitted_at),
        "lastUpdatedAt": format_time(changed),
        "ttlMs": None,
        "pollIntervalMs": state.poll_after_ms or 1000,
    }


def _message(state: answers.JobAnswer) -> str:
    done = f" {state.progress:.0%}" if state.status == "running" and state.progress else ""
    return f"job {state.job_id}: {state.status}{done}. {state.next_step}"


def _declares(ctx: Ctx) -> bool:
    capabilities: ClientCapabilities | None = ctx.session.client_capabilities
    declared: Mapping[str, Any] = (capabilities.extensions if capabilities else None) or {}
    return ctx.protocol_version in _MODERN and TASKS in declared


def _check(ctx: Ctx, params: TaskParams) -> None:
    """The client knows tasks, and a proxy on the way was told of the same one."""
    require_client_extension(ctx, TASKS)
    named = ctx.request.headers.get("mcp-name") if isinstance(ctx.request, Request) else None
    if named is not None and named != params.task_id:
        raise MCPError(HEADER_MISMATCH, "The header Mcp-Name does not name the task in params.taskId.")
