"""The MCP tools. Their descriptions are the manual that an agent works from."""

from __future__ import annotations

import base64
import json
import re
from itertools import islice
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ImageContent, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError

from orchestrator_mcp.domain.access import Scope
from orchestrator_mcp.domain.documents import value_problems
from orchestrator_mcp.domain.jobs import Door, is_batch_id
from orchestrator_mcp.domain.manifests import MAX_PRIORITY, Manifest, problems_in
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.doors.mcp import answers, batch_answers
from orchestrator_mcp.doors.mcp.callers import caller_of, request_of
from orchestrator_mcp.doors.mcp.calls import OpenCalls
from orchestrator_mcp.doors.mcp.refusals import CheckedTool
from orchestrator_mcp.doors.mcp.schemas import slim
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service import JobService
from orchestrator_mcp.service.previewing import LONGEST_SIDE, SHORTEST_SIDE

MAX_WAIT_SECONDS = 45.0
_MOST_PROBLEMS = 20
_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_SMALLEST_STEP = 0.01  # of progress that is worth a notification

INSTRUCTIONS = (
    "Render farm: generate images and video with ComfyUI (Stable Diffusion, SDXL, Flux, text-to-image, upscaling) on "
    "several GPU machines. Usual way: list_workflows to choose, submit_job to queue a render, job_status with "
    "wait_seconds until it is final, then get_preview to look, or open the outputs by path or url. list_backends "
    "shows the machines."
)

SUBMIT = (
    "Queue one ComfyUI render (image, video, audio) and return its job_id at once. Give workflow_id, a name from "
    "list_workflows, or workflow, a graph in API or UI format. The farm picks a free machine that has the models. An "
    "accepted job survives restarts; files are kept for days. Next: job_status."
)
STATUS = (
    "Show a job: status (queued, running, completed, failed, cancelled), progress, why it waits, and when completed "
    "its files with url and path. With wait_seconds it returns when the job ends or the time is over, so prefer it to "
    "polling. Ending the wait never stops the job. While not final, call again after poll_after_ms."
)
BACKENDS = (
    "List the ComfyUI machines: whether each is online, busy or offline and why, its capabilities and slots. "
    "Use it when a job waits long or before backend_affinity. Not needed before submit_job: the farm chooses."
)
CANCEL = (
    "Stop a queued or running job; other renders go on. It cannot be undone: submit again for a new render. A job "
    "that has completed or failed is an error. Next: job_status shows its end."
)
WORKFLOWS = (
    "List the workflows that submit_job takes, with parameters, types and defaults. Use it first, or after an unknown "
    "workflow_id. The library is read live. Next: submit_job with only the parameters to change."
)

PREVIEW = (
    "Look at results: a small picture of a job's output, a contact sheet of several outputs or jobs, a card for video "
    "or audio. Of a running render: its newest frame, if there is one. The text says where the originals are."
)

JobId = Annotated[str, Field(min_length=1, max_length=100, description="From submit_job.")]


class AgentServer(MCPServer[Any]):
    """An MCPServer whose waiting calls can be told to return."""

    def __init__(self, tools: list[Tool], *, version: str, calls: OpenCalls) -> None:
        super().__init__(
            "orchestrator-mcp",
            title="Director's Console Orchestrator",
            instructions=INSTRUCTIONS,
            version=version,
            tools=tools,
        )
        self.calls = calls

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; a shutdown waits a moment for its answer."""
        with self.calls.running():
            return await super().call_tool(name, arguments, context)


class AgentTools:
    """The tools over one service; each makes one call and renders the answer."""

    def __init__(self, service: JobService, calls: OpenCalls, *, public_url: str | None) -> None:
        self._service = service
        self._calls = calls
        self._public_url = public_url.rstrip("/") if public_url else None

    async def submit_job(
        self,
        ctx: Context[Any, Any],
        workflow_id: Annotated[
            str | None, Field(description='Library name, e.g. "my_workflow_001"; with workflow only a label.')
        ] = None,
        workflow: Annotated[
            dict[str, Any] | None,
            Field(description="Graph: node id -> {class_type, inputs} (API format), or as ComfyUI saves it."),
        ] = None,
        parameters: Annotated[
            dict[str, Any] | None,
            Field(
                description='Values by name or "node_id.input", e.g. {"prompt": "dusk", "seed": -1}; -1 draws one. '
                'Input files: "job:<id>/<name>", "asset:<sha256>", a path in assets.roots, {"base64": ..} to 1 MB.'
            ),
        ] = None,
        metadata: Annotated[
            dict[str, Any] | None, Field(description='Kept with the job, e.g. {"shot": "010"}.')
        ] = None,
        priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher first; default 0.")] = 0,
        backend_affinity: Annotated[
            str | None, Field(description="Only this backend id; waits while it is offline.")
        ] = None,
        required_capabilities: Annotated[
            list[str] | None, Field(description='Labels the backend must have, e.g. ["flux"].')
        ] = None,
        idempotency_key: Annotated[
            str | None, Field(description="Any unique text; repeating it gives the same job.")
        ] = None,
        rerun_of: Annotated[
            str | None, Field(description="job_id to do again as it was but for parameters; alone, no workflow.")
        ] = None,
        batch: Annotated[
            dict[str, Any] | None,
            Field(description='Many jobs: {"seed": {"count": 12}, "steps": [20, 30]}; "mode": "zip" pairs values.'),
        ] = None,
        dry_run: Annotated[bool, Field(description="Only tell what it would be and who could run it.")] = False,
    ) -> Annotated[CallToolResult, answers.Submitted]:
        manifest = _manifest(
            workflow_id=workflow_id,
            workflow=workflow,
            parameters=parameters,
            metadata=metadata,
            priority=priority,
            backend_affinity=backend_affinity,
            required_capabilities=required_capabilities,
            idempotency_key=idempotency_key,
            rerun_of=rerun_of,
            batch=batch,
        )
        if dry_run:
            return _result(answers.tried(await self._service.try_out(manifest, door=Door.MCP, by=caller_of(ctx))))
        given: dict[str, Any] = {"door": Door.MCP, "by": caller_of(ctx), "base_url": self._urls_begin(ctx)}
        if manifest.batch is not None:
            return _result(batch_answers.submitted(await self._service.batches.submit(manifest, **given)))
        accepted = await self._service.submit(manifest, **given)
        return _result(answers.submitted(accepted))

    async def job_status(
        self,
        ctx: Context[Any, Any],
        job_id: JobId,
        wait_seconds: Annotated[
            float, Field(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the end, e.g. 30; default 0.")
        ] = 0,
    ) -> Annotated[CallToolResult, answers.JobAnswer]:
        if is_batch_id(job_id):
            return _result(await self._batch_status(ctx, job_id, wait_seconds))
        view = await self._waited(ctx, job_id, wait_seconds) if wait_seconds > 0 else None
        return _result(answers.job_answer(view or await self._service.job(job_id, base_url=self._urls_begin(ctx))))

    async def list_backends(self) -> Annotated[CallToolResult, answers.Backends]:
        return _result(answers.backend_lines(self._service.backends()))

    async def cancel_job(self, ctx: Context[Any, Any], job_id: JobId) -> Annotated[CallToolResult, answers.Cancelled]:
        if is_batch_id(job_id):
            batch = await self._service.batches.cancel(job_id, by=caller_of(ctx))
            return _result(batch_answers.cancelled(batch))
        view = await self._service.cancel(job_id, by=caller_of(ctx), base_url=self._urls_begin(ctx))
        return _result(answers.cancelled(view))

    async def list_workflows(
        self,
        search: Annotated[
            str | None, Field(max_length=200, description='Words that must all occur, e.g. "flux upscale".')
        ] = None,
    ) -> Annotated[CallToolResult, answers.Workflows]:
        return _result(answers.workflow_lines(await self._service.workflows(), search=search))

    async def get_preview(
        self,
        ctx: Context[Any, Any],
        job_id: Annotated[str | list[str], Field(description="One, several for a contact sheet, or a batch_id.")],
        name: Annotated[str | None, Field(max_length=300, description="One output, as job_status names it.")] = None,
        longest: Annotated[
            int | None, Field(ge=SHORTEST_SIDE, le=LONGEST_SIDE, description="Pixels of the longer side.")
        ] = None,
    ) -> CallToolResult:
        job_ids = [job_id] if isinstance(job_id, str) else job_id
        preview = await self._service.preview(*job_ids, name=name, longest=longest, base_url=self._urls_begin(ctx))
        picture = preview.picture
        image = ImageContent(
            type="image", data=base64.b64encode(picture.data).decode("ascii"), mime_type=picture.media_type
        )
        return CallToolResult(content=[TextContent(type="text", text=preview.text), image])

    def _urls_begin(self, ctx: Context[Any, Any]) -> str | None:
        """The configured address, else the caller's own Host; None over stdio, where the service knows best."""
        request = request_of(ctx)
        if self._public_url or request is None:
            return self._public_url
        host = request.headers.get("host", "")
        return f"{request.scope['scheme']}://{host}" if _HOST.fullmatch(host) else None

    async def _batch_status(self, ctx: Context[Any, Any], batch_id: str, seconds: float) -> answers.JobAnswer:
        batches, begin, told = self._service.batches, self._urls_begin(ctx), 0.0
        view = await batches.batch(batch_id, base_url=begin)
        if seconds > 0 and view.status not in answers.FINAL:
            with self._calls.wait(seconds):
                async with batches.watch(batch_id, by=caller_of(ctx), base_url=begin) as events:
                    async for event in events:
                        view = event.batch
                        if view.progress >= told + _SMALLEST_STEP:
                            told = view.progress
                            await ctx.report_progress(told, 1.0, batch_answers.progress_message(view))
        final = view.status in answers.FINAL
        outputs = await batches.outputs(batch_id, base_url=begin) if final else []
        failures = await batches.failures(batch_id) if view.counts["failed"] else []
        return batch_answers.batch_answer(view, outputs, failures)

    async def _waited(self, ctx: Context[Any, Any], job_id: str, seconds: float) -> JobView | None:
        """Follow a job until it ends; None when the time is over first."""
        told = 0.0
        message: str | None = None
        with self._calls.wait(seconds):
            async with self._service.watch(job_id, by=caller_of(ctx), base_url=self._urls_begin(ctx)) as events:
                async for event in events:
                    if event.job is not None and event.job.status in answers.FINAL:
                        return event.job
                    if event.job is not None:
                        message = answers.progress_message(event.job)
                    progress = event.job.progress if event.job is not None else event.progress or 0.0
                    if progress >= told + _SMALLEST_STEP:
                        told = progress
                        await ctx.report_progress(progress, 1.0, message)
        return None


def build_server(service: JobService, *, version: str, public_url: str | None = None) -> AgentServer:
    """Make the one MCP server that every transport serves.

    Args:
        service: what the tools call.
        version: of this program, as clients are told.
        public_url: what the urls of outputs begin with; the caller's own Host when None.
    """
    calls = OpenCalls()
    tools = AgentTools(service, calls, public_url=public_url)
    changes = ToolAnnotations(destructive_hint=False, open_world_hint=False)
    ends = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    listed = [
        _tool(tools.submit_job, "Submit a render", SUBMIT, changes, needs=Scope.SUBMIT),
        _tool(tools.job_status, "Job status and results", STATUS, reads),
        _tool(tools.list_backends, "List render backends", BACKENDS, reads),
        _tool(tools.cancel_job, "Cancel a job", CANCEL, ends, needs=Scope.SUBMIT),
        _tool(tools.list_workflows, "List workflows", WORKFLOWS, reads),
        _tool(tools.get_preview, "Look at results", PREVIEW, reads),
    ]
    return AgentServer(listed, version=version, calls=calls)


def _tool(
    function: Any, title: str, description: str, annotations: ToolAnnotations, *, needs: Scope = Scope.READ
) -> Tool:
    tool = CheckedTool.from_function(function, title=title, description=description, annotations=annotations)
    assert isinstance(tool, CheckedTool)
    tool.needs = needs
    tool.parameters = slim(tool.parameters, strict=True)
    if tool.fn_metadata.output_schema is not None:
        tool.fn_metadata.output_schema = slim(tool.fn_metadata.output_schema)
    return tool


def _manifest(**fields: Any) -> Manifest:
    if fields["rerun_of"] is not None:
        fields["priority"] = fields["priority"] or None  # as it was, unless another is given
    elif fields["workflow_id"] is None and fields["workflow"] is None:
        raise ManifestError.at(
            "workflow_id",
            message="give workflow_id (a name that list_workflows shows) or workflow (a graph in API or UI format)",
            code="missing",
        )
    plain_values = {name: value for name, value in fields.items() if name != "workflow"}  # graphs: the service's matter
    if problems := list(islice(value_problems(plain_values, ()), _MOST_PROBLEMS)):
        raise ManifestError(problems)
    try:
        return Manifest.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise ManifestError(problems_in(error)) from error


def _result(answer: answers.Answer) -> CallToolResult:
    structured = answer.model_dump(mode="json", exclude_none=True)
    text = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)
