"""What a caller gets back about batches; the one shape of them on every wire."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from orchestrator_mcp.domain.views import Status, Time, View


class BatchAcceptedView(View):
    """The answer to a submission with `batch`, and to a retry."""

    batch_id: str
    status: Literal["accepted"] = "accepted"
    message: str = "Batch accepted for execution"
    count: int = Field(description="How many jobs were made.")
    job_ids: list[str] = Field(description="The first 100 of them, in their order.")
    submitted_at: Time
    warnings: list[str] = Field(default_factory=list)
    links: dict[str, str] = Field(default_factory=dict)


class BatchView(View):
    """Where the jobs of a batch stand, rolled up. A job that a retry replaced does not count."""

    batch_id: str
    status: Status = Field(
        description="queued until a job begins, running until all have ended; then failed if any failed, else "
        "cancelled if any was cancelled, else completed."
    )
    count: int = Field(description="How many jobs it was accepted with.")
    counts: dict[str, int] = Field(description="How many jobs are queued, running, completed, failed, cancelled.")
    progress: float = Field(ge=0, le=1, description="What has ended, and what is done of those that run.")
    workflow_id: str
    varies: list[str] = Field(description="The parameters that differ from job to job.")
    mode: Literal["product", "zip"]
    parameters: dict[str, Any] = Field(default_factory=dict, description="Those that are the same for all jobs.")
    submitted_at: Time
    started_at: Time | None = None
    finished_at: Time | None = None
    eta_seconds: float | None = None
    deadline: Time | None = Field(default=None, description="When its jobs are to be done.")
    late: bool | None = Field(
        default=None,
        description="Whether its last job was done after the deadline, or likely will be; null without one, and while "
        "nobody can say.",
    )
    retries: int = Field(default=0, description="How often the failed ones were done again.")
    path: str | None = Field(default=None, description="Its folder in Outbox, as this machine names it.")
    warnings: list[str] = Field(default_factory=list)
    attention: bool = Field(default=False, description="A person should look: the outcome of a job is in doubt.")
    links: dict[str, str] = Field(default_factory=dict)


class BatchListView(View):
    """A page of batches, newest first."""

    batches: list[BatchView]
    next_cursor: str | None = None


class BatchEvent(View):
    """One message of a batch's stream: where it stands."""

    type: Literal["batch", "end"]
    seq: int = Field(description="Number of the newest history row of its jobs; the SSE id.")
    batch_id: str
    batch: BatchView

    @cached_property
    def text(self) -> str:
        """It as JSON, made once for all who are told."""
        return self.model_dump_json()

    @property
    def over(self) -> bool:
        """Whether it tells of the end."""
        return self.type == "end" or self.batch.status in {"completed", "failed", "cancelled"}
