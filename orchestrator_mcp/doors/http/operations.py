"""What the API does, as plain values: one row per path and method, with its parameters, answers and examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, Field, RootModel

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"
ANY_TYPE: Final = "*/*"
"""Of a file: its own type."""


class ErrorDocument(BaseModel):
    """The body of every error but 422."""

    detail: str = Field(description="What happened, and the nearest names if something was not found.")
    code: str = Field(description="A stable word for programs.")
    hint: str | None = Field(default=None, description="What to do next.")


class WrongField(BaseModel):
    """One wrong field of a request."""

    loc: list[str | int] = Field(description="Where it stands.", examples=[["body", "parameters", "steps"]])
    msg: str = Field(description="What is wrong with it.")
    type: str = Field(description="A stable word for the kind of problem.")
    allowed: list[Any] | None = Field(default=None, description="What would be right, if that can be listed.")


class WrongFieldsDocument(BaseModel):
    """The body of a 422."""

    detail: list[WrongField]
    code: str
    hint: str | None = None
    backends: dict[str, str] | None = Field(
        default=None, description="With the code `no_backend_can`: why each backend cannot run it."
    )


class NodeClassesDocument(RootModel[dict[str, dict[str, Any]]]):
    """Node class -> its definition, as ComfyUI writes it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One status that an operation answers with.

    Attributes:
        text: what it means.
        schema: the name of a component; None without a JSON body.
        or_schema: another component that it may be instead.
        is_list: a bare list of it.
        media_type: of the body.
        example: a key of `EXAMPLES`.
        headers: name -> what it says.
    """

    text: str
    schema: str | None = None
    or_schema: str | None = None
    is_list: bool = False
    media_type: str = JSON
    example: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        method: in lower case.
        path: with its parameters in braces.
        name: the operation id.
        tag: the group it stands in.
        summary: a few words.
        text: what it does.
        answers: by status.
        errors: the statuses of `ERRORS` that it may answer with.
        body: the component that it takes as JSON.
        example: of that body, a key of `EXAMPLES`.
        files: whether it also takes a file that carries a workflow, as it is or in a form.
        upload: whether it takes a file, as it is or in a form.
        headers: request headers it looks at, keys of `PARAMETERS`.
        query: what its query holds, a key of `openapi.QUERIES`.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    text: str
    answers: tuple[tuple[int, Answer], ...]
    errors: tuple[int, ...] = ()
    body: str | None = None
    example: str = "manifest"
    files: bool = False
    upload: bool = False
    headers: tuple[str, ...] = ()
    query: str | None = None


FILE_TYPES: Final = ("image/png", "image/webp", "video/mp4", "application/octet-stream")
"""Named for a file that carries a workflow; every other `image/`, `video/`, `audio/` and `model/` type passes too."""

ERRORS: Final[dict[int, str]] = {
    400: "The form cannot be read.",
    401: "A token is needed (only when the server asks for one).",
    403: "A web page of another origin sent this, or the token may not do it.",
    404: "There is no such job, workflow, backend or file; the nearest names are told.",
    409: "The state of things forbids it.",
    413: "The body, its graph or its batch is too large; the limit is told.",
    415: "The body is not declared as JSON.",
    416: "The range lies beyond the end of the file.",
    421: "The Host header names another machine.",
    422: "A field is wrong: where, what, and what would be right.",
    426: "This address speaks WebSocket.",
    429: "More than the limits allow; try again after the time in Retry-After.",
    503: "It cannot be stored now; try again after the time in Retry-After.",
}

PARAMETERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "Idempotency-Key": (
        "The same key and manifest give the same job, however often they are sent; another manifest gives 409.",
        {"type": "string", "minLength": 1, "maxLength": 200},
    ),
    "Last-Event-ID": ("The number of the last event seen.", {"type": "string"}),
    "Range": ("One range of bytes.", {"type": "string", "examples": ["bytes=0-1023"]}),
    "If-None-Match": ("The ETag that the caller has.", {"type": "string"}),
}

PATH_PARAMETERS: Final[dict[str, str]] = {
    "job_id": "What the submission answered.",
    "name": "The name of an output, from the list of outputs.",
    "sha256": "The sha256 of a file, in lower-case hex.",
    "backend_id": "The `id` of a backend.",
    "workflow_id": "The `id` of a workflow.",
    "batch_id": "What the submission of the batch answered.",
}

_JOB_ANSWER: Final = Answer(text="The job as it is now.", schema="JobView", example="job")
_WHERE_ASSET: Final = ("Location", "Where its bytes are.")
_BYTES: Final = (
    (
        200,
        Answer(
            text="The whole file.",
            media_type=ANY_TYPE,
            headers=(("ETag", "The file's sha256, quoted."), ("Accept-Ranges", "`bytes`.")),
        ),
    ),
    (
        206,
        Answer(
            text="The range that was asked for.",
            media_type=ANY_TYPE,
            headers=(("Content-Range", "Which bytes, of how many."),),
        ),
    ),
    (304, Answer(text="The caller has it already.")),
)
_HEALTH: Final = Answer(text="The server lives.", schema="HealthView", example="health")

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="post",
        path="/api/job",
        name="submit_job",
        tag="jobs",
        summary="Submit a workflow",
        text="Checks the manifest, stores it durably and queues it. What is accepted is never lost, and runs once. "
        "With `batch` it makes many jobs at once, all or none, and answers with the batch. "
        "A body may also be a workflow alone, in API format or as ComfyUI's page saves it, or a picture, film or sound "
        "that was made with ComfyUI and carries its workflow: that is rendered again.",
        body="Manifest",
        files=True,
        headers=("Idempotency-Key",),
        query="submit",
        answers=(
            (200, Answer(text="With `dry_run=1`: nothing was queued.", schema="DryRunView", example="dry_run")),
            (
                202,
                Answer(
                    text="Accepted.",
                    schema="AcceptedView",
                    or_schema="BatchAcceptedView",
                    example="accepted",
                    headers=(("Location", "Where the job is."),),
                ),
            ),
        ),
        errors=(400, 404, 409, 413, 415, 422, 429, 503),
    ),
    Operation(
        method="get",
        path="/api/jobs",
        name="list_jobs",
        tag="jobs",
        summary="List jobs",
        text="A page of jobs, newest first.",
        query="filters",
        answers=((200, Answer(text="A page.", schema="JobListView", example="jobs")),),
        errors=(422,),
    ),
    Operation(
        method="get",
        path="/api/job/{job_id}",
        name="get_job",
        tag="jobs",
        summary="Look at a job",
        text="Everything there is to know about a job: where it stands, why it waits, what it made.",
        answers=((200, _JOB_ANSWER),),
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/api/jobs/{job_id}",
        name="get_job_alias",
        tag="jobs",
        summary="Look at a job (alias)",
        text="The same as `GET /api/job/{job_id}`.",
        answers=((200, _JOB_ANSWER),),
        errors=(404,),
    ),
    Operation(
        method="delete",
        path="/api/job/{job_id}",
        name="cancel_job",
        tag="jobs",
        summary="Cancel a job",
        text="Asks for the job's end. A queued job is cancelled at once, a running one when its backend confirms it. "
        "Asking again is fine; a job that has completed or failed gives 409.",
        answers=((202, _JOB_ANSWER),),
        errors=(404, 409, 503),
    ),
    Operation(
        method="post",
        path="/api/job/{job_id}/rerun",
        name="rerun_job",
        tag="jobs",
        summary="Do a job again",
        text="A new job with the same graph, parameters, seeds and input files as the first, whatever has become of "
        "its workflow; or with changes, bound by the names that the first used. An empty body does it exactly. Fields "
        "that mean nothing here are ignored and listed in `warnings`.",
        query="submit",
        body="Changes",
        example="changes",
        headers=("Idempotency-Key",),
        answers=(
            (200, Answer(text="With `dry_run=1`: nothing was queued.", schema="DryRunView", example="dry_run")),
            (
                202,
                Answer(
                    text="Accepted.",
                    schema="AcceptedView",
                    example="accepted",
                    headers=(("Location", "Where the new job is."),),
                ),
            ),
        ),
        errors=(404, 409, 413, 415, 422, 429, 503),
    ),
    Operation(
        method="get",
        path="/api/job/{job_id}/outputs",
        name="list_outputs",
        tag="outputs",
        summary="List the files of a job",
        text="The verified files, as a bare list; empty until the job is completed.",
        answers=((200, Answer(text="The files.", schema="OutputView", is_list=True, example="outputs")),),
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/api/job/{job_id}/outputs/{name}",
        name="get_output",
        tag="outputs",
        summary="Fetch a file",
        text="The bytes. Raster images and video may be shown in place; everything else comes as attachment.",
        headers=("Range", "If-None-Match"),
        answers=_BYTES,
        errors=(404, 416),
    ),
    Operation(
        method="get",
        path="/api/job/{job_id}/preview",
        name="preview_job",
        tag="outputs",
        summary="Preview a job",
        text="One small picture: of the output, of several outputs side by side, a video's first frame, a card for "
        "sound and text, or of a running job the newest frame that its backend sent. 409 says why there is none.",
        headers=("If-None-Match",),
        query="preview",
        answers=(
            (
                200,
                Answer(
                    text="The picture.", media_type="image/jpeg", headers=(("ETag", "Changes when the picture does."),)
                ),
            ),
            (304, Answer(text="The caller has it already.")),
        ),
        errors=(404, 409, 422, 429),
    ),
    Operation(
        method="get",
        path="/api/job/{job_id}/stream",
        name="stream_job",
        tag="streams",
        summary="Follow a job (WebSocket)",
        text="A WebSocket. Each message is a StreamEvent: the present state first, then every change and progress, "
        "then `end`, then close code 1000. An unknown job gets one message of type `error` and close code 4404; "
        "1012 says that the server stops and the caller should come back.",
        answers=((101, Answer(text="Each message is one of these.", schema="StreamEvent", example="event")),),
        errors=(426, 429),
    ),
    Operation(
        method="get",
        path="/api/job/{job_id}/events",
        name="job_events",
        tag="streams",
        summary="Follow a job (server-sent events)",
        text="The same as the WebSocket: `event` is the type, `id` the number of the history row, `data` a "
        "StreamEvent.",
        headers=("Last-Event-ID",),
        answers=(
            (200, Answer(text="The stream.", media_type=EVENT_STREAM, schema="StreamEvent")),
            (204, Answer(text="The job has ended and the caller has seen that.")),
        ),
        errors=(404, 429),
    ),
    Operation(
        method="post",
        path="/api/assets",
        name="upload_asset",
        tag="assets",
        summary="Send an input file ahead",
        text="A picture, video or sound that jobs may begin with, as the body itself or as the part `file` of a form. "
        "It is checked to its end and kept by its content; a manifest then names it as the value of a parameter: "
        "`asset:<sha256>`. Sending it again changes nothing.",
        upload=True,
        answers=(
            (201, Answer(text="It is kept.", schema="AssetView", example="asset", headers=(_WHERE_ASSET,))),
            (200, Answer(text="It was here before.", schema="AssetView", example="asset", headers=(_WHERE_ASSET,))),
        ),
        errors=(400, 413, 415, 422, 429, 503),
    ),
    Operation(
        method="get",
        path="/api/assets/{sha256}",
        name="get_asset",
        tag="assets",
        summary="Fetch an input file",
        text="The bytes, by the same rules as those of an output.",
        headers=("Range", "If-None-Match"),
        answers=_BYTES,
        errors=(404, 416),
    ),
    Operation(
        method="get",
        path="/api/workflows",
        name="list_workflows",
        tag="workflows",
        summary="List workflows",
        text="The library, read live from its folders, as a bare list.",
        answers=((200, Answer(text="The workflows.", schema="WorkflowView", is_list=True, example="workflows")),),
    ),
    Operation(
        method="get",
        path="/api/workflows/{workflow_id}",
        name="get_workflow",
        tag="workflows",
        summary="Look at a workflow",
        text="Its parameters, with their types and defaults.",
        answers=((200, Answer(text="The workflow.", schema="WorkflowView", example="workflow")),),
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/api/health",
        name="health",
        tag="farm",
        summary="Health",
        text="Whether the orchestrator does its work.",
        answers=((200, _HEALTH),),
    ),
    Operation(
        method="get",
        path="/health",
        name="health_alias",
        tag="farm",
        summary="Health (alias)",
        text="The same as `GET /api/health`; it needs no token.",
        answers=((200, _HEALTH),),
    ),
)
