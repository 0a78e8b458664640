"""The tools themselves: each makes one call of the service and renders the answer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any, Final

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult, ImageContent, TextContent
from pydantic import BeforeValidator, Field, ValidationError

from orchestrator_mcp.domain.documents import value_problems
from orchestrator_mcp.domain.jobs import Door, is_batch_id
from orchestrator_mcp.domain.manifests import MAX_PRIORITY, Manifest, problems_in
from orchestrator_mcp.doors.mcp import answers, batch_answers, several_answers, workflow_answers
from orchestrator_mcp.doors.mcp.arguments import Batch, Graph, JobIds, Labels, Statuses, ids
from orchestrator_mcp.doors.mcp.callers import caller_of, urls_begin
from orchestrator_mcp.doors.mcp.calls import OpenCalls
from orchestrator_mcp.doors.mcp.confirming import Confirmation, confirm, require_agreement
from orchestrator_mcp.doors.mcp.following import Following
from orchestrator_mcp.doors.mcp.refusals import spell
from orchestrator_mcp.doors.mcp.states import result_of, state_of
from orchestrator_mcp.errors import ForbiddenError, JobFinishedError, ManifestError, NotFoundError
from orchestrator_mcp.service import JobService, Submission
from orchestrator_mcp.service.previewing import LONGEST_SIDE, SHORTEST_SIDE

MAX_WAIT_SECONDS: Final = 45.0
MOST_LOOKED_AT: Final = 100  # jobs on one contact sheet
LONGEST_LIST: Final = 50
_MOST_PROBLEMS: Final = 20

Filter = Annotated[str | None, Field(max_length=200)]


class AgentTools:
    """The tools over one service.

    Args:
        service: what they call.
        calls: the calls that are open.
        public_url: what the urls of outputs begin with; the caller's own Host when None.
    """

    def __init__(self, service: JobService, calls: OpenCalls, *, public_url: str | None) -> None:
        self._service = service
        self._following = Following(service, calls)
        self._public_url = public_url

    async def submit_job(
        self,
        ctx: Context[Any, Any],
        agreement: Annotated[ElicitationResult[Confirmation], Resolve(confirm)],
        workflow_id: Annotated[
            str | None, Field(description="A name from list_workflows; beside workflow only a label.")
        ] = None,
        workflow: Annotated[
            Graph | None,
            Field(description="Graph: node id -> {class_type, inputs} (API format), or as ComfyUI saves it."),
        ] = None,
        parameters: Annotated[
            dict[str, Any] | None,
            Field(
                description='Values by name or node_id.input, e.g. {"prompt": "dusk", "seed": -1}; -1 draws one. '
                'Input files: job:<id>/<name>, asset:<sha256>, a path in assets.roots, {"base64": ..} to 1 MB.'
            ),
        ] = None,
        metadata: Annotated[dict[str, Any] | None, Field(description='Kept with the job: {"shot": "010"}.')] = None,
        priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher first; default 0.")] = 0,
        deadline: Annotated[str | None, Field(description="When it must be done, e.g. 2026-03-01T18:00:00Z.")] = None,
        backend_affinity: Annotated[
            str | None, Field(description="Only this backend id; waits while it is offline.")
        ] = None,
        required_capabilities: Annotated[
            Labels | None, Field(description="Labels the backend must have, e.g. flux.")
        ] = None,
        idempotency_key: Annotated[
            str | None, Field(description="Any unique text; repeating it gives the same job.")
        ] = None,
        rerun_of: Annotated[
            str | None, Field(description="job_id to do again as it was but for parameters; alone, no workflow.")
        ] = None,
        batch: Annotated[
            Batch | None,
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
            deadline=deadline,
            backend_affinity=backend_affinity,
            required_capabilities=required_capabilities,
            idempotency_key=idempotency_key,
            rerun_of=rerun_of,
            batch=batch,
        )
        wanted = Submission(manifest=manifest, door=Door.MCP, by=caller_of(ctx))
        if dry_run:
            return result_of(answers.tried(await self._service.try_out(wanted)))
        require_agreement(agreement)
        return await self._hand_in(ctx, wanted)

    async def job_status(
        self,
        ctx: Context[Any, Any],
        job_id: JobIds,
        wait_seconds: Annotated[
            float, Field(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the end; default 0.")
        ] = 0,
    ) -> Annotated[CallToolResult, answers.JobAnswer]:
        wanted = _listed(job_id)
        told = await self._states(ctx, wanted)
        waiting = [one for one, state in zip(wanted, told, strict=True) if answers.is_under_way(state)]
        if wait_seconds > 0 and waiting:
            await self._following.wait(ctx, waiting, wait_seconds)
            told = await self._states(ctx, wanted)
        answer = told[0] if isinstance(job_id, str) else several_answers.side_by_side(told)
        return result_of(answer, revision=ctx.request_context.protocol_version)

    async def list_backends(self) -> Annotated[CallToolResult, answers.Backends]:
        return result_of(answers.backend_lines(self._service.backends()))

    async def cancel_job(self, ctx: Context[Any, Any], job_id: JobIds) -> Annotated[CallToolResult, answers.Cancelled]:
        if isinstance(job_id, str):
            return result_of(await self._cancel(ctx, job_id))
        ends: list[tuple[str, str | None, str | None]] = []
        for one in _listed(job_id):
            try:
                ends.append((one, (await self._cancel(ctx, one)).status, None))
            except (ForbiddenError, JobFinishedError, NotFoundError) as refusal:
                ends.append((one, None, spell(refusal)))
        return result_of(several_answers.cancelled_together(ends))

    async def list_workflows(
        self,
        search: Annotated[str | None, Field(max_length=200, description="Words that must all occur.")] = None,
    ) -> Annotated[CallToolResult, workflow_answers.Workflows]:
        return result_of(workflow_answers.workflow_lines(await self._service.workflows(), search=search))

    async def list_jobs(
        self,
        ctx: Context[Any, Any],
        status: Annotated[Statuses | None, Field(description="Any of these.")] = None,
        workflow_id: Annotated[Filter, Field(description="Of this workflow.")] = None,
        backend_id: Annotated[Filter, Field(description="On this backend, now or last.")] = None,
        batch_id: Annotated[Filter, Field(description="Of this batch.")] = None,
        limit: Annotated[int, Field(ge=1, le=LONGEST_LIST, description="Default 20.")] = 20,
        cursor: Annotated[Filter, Field(description="next_cursor of the last answer.")] = None,
    ) -> Annotated[CallToolResult, several_answers.Jobs]:
        wanted: dict[str, Any] = {
            "status": tuple(status or ()),
            "workflow_id": workflow_id,
            "backend_id": backend_id,
            "batch_id": batch_id,
            "cursor": cursor,
            "base_url": self._urls_begin(ctx),
        }
        page = await self._service.jobs(**wanted, limit=limit)
        fits = several_answers.most_that_fit(page)
        if fits < len(page.jobs):
            page = await self._service.jobs(**wanted, limit=fits)
        return result_of(several_answers.job_lines(page))

    async def get_preview(
        self,
        ctx: Context[Any, Any],
        job_id: Annotated[
            str | list[str],
            BeforeValidator(ids(MOST_LOOKED_AT)),
            Field(description="One, several, or of a batch."),
        ],
        name: Annotated[str | None, Field(max_length=300, description="One output, by its name.")] = None,
        longest: Annotated[
            int | None, Field(ge=SHORTEST_SIDE, le=LONGEST_SIDE, description="Pixels of the longer side.")
        ] = None,
    ) -> CallToolResult:
        job_ids = _listed(job_id)
        if len(job_ids) > 1 and (batch := next(filter(is_batch_id, job_ids), None)) is not None:
            alone = f"{batch} is a batch, which is looked at alone; give its id without others, or only ids of jobs"
            raise ManifestError.at("job_id", message=alone, code="invalid")
        preview = await self._service.preview(*job_ids, name=name, longest=longest, base_url=self._urls_begin(ctx))
        picture = preview.picture
        image = ImageContent(
            type="image", data=base64.b64encode(picture.data).decode("ascii"), mime_type=picture.media_type
        )
        return CallToolResult(content=[TextContent(type="text", text=preview.text), image])

    async def _hand_in(self, ctx: Context[Any, Any], wanted: Submission) -> CallToolResult:
        begin = self._urls_begin(ctx)
        if wanted.manifest.batch is not None:
            return result_of(batch_answers.submitted(await self._service.batches.submit(wanted, base_url=begin)))
        return result_of(answers.submitted(await self._service.submit(wanted, base_url=begin)))

    def _urls_begin(self, ctx: Context[Any, Any]) -> str | None:
        return urls_begin(ctx, self._public_url)

    async def _state(self, ctx: Context[Any, Any], one: str) -> answers.JobAnswer:
        return await state_of(self._service, one, base_url=self._urls_begin(ctx))

    async def _states(self, ctx: Context[Any, Any], some: Sequence[str]) -> list[answers.JobAnswer]:
        """Where each of them stands; of several, one that does not exist keeps nobody from hearing of the others."""
        told: list[answers.JobAnswer] = []
        unknown: list[NotFoundError] = []
        for one in some:
            try:
                told.append(await self._state(ctx, one))
            except NotFoundError as error:
                unknown.append(error)
                told.append(answers.unknown_job(one, spell(error)))
        if len(unknown) == len(some):
            raise unknown[0]
        return told

    async def _cancel(self, ctx: Context[Any, Any], one: str) -> answers.Cancelled:
        if is_batch_id(one):
            return batch_answers.cancelled(await self._service.batches.cancel(one, by=caller_of(ctx)))
        view = await self._service.cancel(one, by=caller_of(ctx), base_url=self._urls_begin(ctx))
        return answers.cancelled(view)


def _listed(ids: str | Sequence[str]) -> list[str]:
    return [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))


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
