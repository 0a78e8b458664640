"""What a caller gets back; the one shape of a job, a backend and a workflow on every wire."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from orchestrator_mcp.clock import format_time

Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Status = Literal["queued", "running", "completed", "failed", "cancelled"]


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


class OutputView(View):
    """One verified file of a job."""

    name: str = Field(description="File name, unique within the job.")
    node: str = Field(description="Id of the node that made it.")
    kind: str = Field(description="image, video, audio, text or file.")
    media_type: str
    size: int = Field(description="Bytes.")
    sha256: str
    url: str = Field(description="Where the bytes are served.")
    path: str | None = Field(default=None, description="The copy in Outbox, as this machine names it.")


class InputView(View):
    """One file that the job begins with."""

    target: str = Field(description='The input that names it, as "node_id.input".')
    name: str = Field(description="What it is called on a backend: its sha256 and an extension.")
    sha256: str


class AttemptView(View):
    """One try of the job on one backend."""

    number: int
    backend_id: str
    prompt_id: str
    started_at: Time = Field(description="When the backend took it; until then, when it was given to that backend.")
    ended_at: Time | None = None
    outcome: str | None = None
    reason: str | None = None


class WaitingView(View):
    """Why one backend does not take the job now."""

    backend_id: str | None
    reason: str


class ErrorView(View):
    """Why the job failed."""

    code: str
    message: str
    hint: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class JobView(View):
    """Everything there is to know about a job."""

    job_id: str
    status: Status
    stage: str | None = Field(
        default=None, description="While running: dispatching, waiting, rendering, collecting, publishing."
    )
    workflow_id: str
    progress: float = Field(default=0.0, ge=0, le=1)
    node: str | None = Field(default=None, description="The node that works now.")
    priority: int = 0
    parameters: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict, description="Every seed in force, by node and input.")
    submitted_at: Time
    started_at: Time | None = Field(
        default=None, description="When it was first rendered; null while it waits, also in the queue of its backend."
    )
    finished_at: Time | None = None
    backend_id: str | None = None
    attempts: list[AttemptView] = Field(default_factory=list)
    waiting_because: list[WaitingView] = Field(default_factory=list)
    queue_position: int | None = Field(
        default=None,
        description="How many jobs will be begun before it, itself included: 1 is next. About, where the queue is long "
        "or several sources take turns; null when it is not queued, and where nobody can say.",
    )
    eta_seconds: float | None = None
    deadline: Time | None = Field(default=None, description="When it is to be done.")
    late: bool | None = Field(
        default=None,
        description="Whether it was done after its deadline, or likely will be; null without one, and while nobody "
        "can say.",
    )
    inputs: list[InputView] = Field(
        default_factory=list, description="The files that it begins with; their bytes are at `/api/assets/{sha256}`."
    )
    outputs: list[OutputView] = Field(default_factory=list)
    error: ErrorView | None = None
    warnings: list[str] = Field(default_factory=list)
    attention: bool = Field(default=False, description="A person should look: the outcome is in doubt.")
    sandbox: bool = Field(default=False, description="Rendered by the built-in sandbox: a slate, not a picture.")
    rerun_of: str | None = Field(default=None, description="The job that this one does again.")
    depends_on: list[str] = Field(default_factory=list, description="The jobs that had to be completed first.")
    batch_id: str | None = Field(default=None, description="The batch that it belongs to.")
    batch_index: int | None = Field(default=None, description="Its place in that batch, from 0.")
    links: dict[str, str] = Field(default_factory=dict)


class JobListView(View):
    """A page of jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None = None


class AcceptedView(View):
    """The answer to a submission."""

    job_id: str
    status: Literal["accepted"] = "accepted"
    message: str = "Job accepted for execution"
    submitted_at: Time
    warnings: list[str] = Field(default_factory=list)
    links: dict[str, str] = Field(default_factory=dict)


class AssetView(View):
    """A file that renders may begin with."""

    asset: str = Field(description="How a manifest names it.")
    sha256: str
    kind: str = Field(description="image, video or audio, by its content.")
    media_type: str = Field(description="By its content.")
    size: int = Field(description="Bytes.")
    extension: str = Field(description="By its content, without the dot.")
    url: str = Field(description="Where the bytes are served.")


BackendStatus = Literal["idle", "busy", "offline", "disabled", "draining", "paused", "suspect"]


class WishView(View):
    """What an operator wants of a backend."""

    kind: Literal["draining", "paused", "disabled"]
    by: str = Field(description="Whose token said so; anonymous where none is asked for.")
    at: Time
    note: str | None = Field(default=None, description="Why, in the operator's words.")


class BlockView(View):
    """A kind of work that avoids a backend for a while, because it failed there."""

    signature: str = Field(description="Names the kind: the nodes and models that it needs.")
    workflow_id: str = Field(description="Of the last job that failed.")
    failures: int = Field(description="How many failed there in a row.")
    reason: str = Field(description="Of the last one.")
    since: Time
    until: Time


class BackendView(View):
    """One ComfyUI server as the orchestrator sees it."""

    id: str
    name: str
    host: str
    port: int
    kind: Literal["comfyui", "sandbox"] = "comfyui"
    enabled: bool = True
    online: bool = False
    status: BackendStatus = "offline"
    reason: str | None = None
    capabilities: list[str] = Field(default_factory=list)
    slots: int = 1
    running: int = Field(default=0, description="Jobs of ours that have one of its slots.")
    foreign: int = Field(default=0, description="Prompts in its queue that are not ours.")
    warm: str | None = Field(default=None, description="The models that our last render there has left in its memory.")
    available: str | None = Field(default=None, description="Its opening hours, as they are configured.")
    opens_at: Time | None = Field(default=None, description="When it opens again; null while it is open.")
    wish: WishView | None = Field(default=None, description="What an operator wants of it; null for nothing.")
    blocked: list[BlockView] = Field(default_factory=list, description="Kinds of work that avoid it for a while.")
    comfyui_version: str | None = None
    devices: list[dict[str, Any]] = Field(default_factory=list)
    last_seen: Time | None = None


ParameterType = Literal["string", "integer", "number", "boolean", "choice", "image", "mask", "video", "audio", "any"]


class ParameterView(View):
    """A value of a workflow that a caller may set."""

    name: str
    type: ParameterType = "any"
    default: Any = Field(default=None, description="What holds when the parameter is left out.")
    targets: list[str] = Field(default_factory=list, description='The inputs that it sets, as "node_id.input".')
    title: str | None = Field(default=None, description="What people call it.")
    description: str | None = None
    minimum: int | float | None = Field(default=None, description="The least that is taken.")
    maximum: int | float | None = Field(default=None, description="The most that is taken.")
    choices: list[Any] = Field(default_factory=list, description="The values that are taken; empty for any.")
    required: bool = Field(default=False, description="A job without it is refused.")


class WorkflowView(View):
    """A workflow of the library."""

    id: str
    title: str | None = None
    description: str | None = None
    tags: list[str] = Field(default_factory=list)
    required_capabilities: list[str] = Field(
        default_factory=list, description="Labels that a backend must carry to render it, beside those of the manifest."
    )
    estimated_seconds: float | None = Field(default=None, description="How long its author expects a render to take.")
    node_classes: list[str] = Field(default_factory=list)
    parameters: list[ParameterView] = Field(default_factory=list)
    parameters_schema: dict[str, Any] | None = Field(
        default=None, description="The parameters as one JSON Schema of an object; null in the list of all workflows."
    )
    notes: list[str] = Field(default_factory=list, description="What of the file was left aside, and why.")
    problem: str | None = Field(default=None, description="Why the file cannot be used, when it cannot.")


class HealthView(View):
    """Whether the orchestrator does its work."""

    status: Literal["ok", "degraded"] = "ok"
    timestamp: Time
    backends_online: int
    version: str
    backends_total: int = 0
    backends_available: int = Field(default=0, description="That render or would begin at once: `idle` or `busy`.")
    accepting: bool = True
    sandbox: bool = False
    jobs_queued: int = 0
    jobs_running: int = 0
    uptime_seconds: float = 0.0
    problems: list[str] = Field(default_factory=list)
    notices: list[str] = Field(default_factory=list, description="What is worth knowing and needs no mending.")


class StreamEvent(View):
    """One message of a job's stream; the first and the last carry the whole job."""

    type: Literal["job", "progress", "end"]
    seq: int = Field(description="Number of the newest history row; the SSE id.")
    job: JobView | None = None
    job_id: str
    progress: float | None = None
    node: str | None = None
    value: float | None = None
    max: float | None = None

    @cached_property
    def text(self) -> str:
        """It as JSON, made once for all who are told."""
        return self.model_dump_json()

    @property
    def over(self) -> bool:
        """Whether it tells of the end."""
        return self.type == "end" or (self.job is not None and self.job.status in {"completed", "failed", "cancelled"})
