"""The shape of a dry run: what a job would be, and who could render it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orchestrator_mcp.domain.views import View
from orchestrator_mcp.errors import ManifestError


class ProspectView(View):
    """What one backend would say to the job."""

    backend_id: str
    can_run: bool | None = Field(description="Whether it can run the job; null when nobody knows, as while offline.")
    reasons: list[str] = Field(default_factory=list, description="Why not, or why that is not known.")


class DryRunView(View):
    """A job that was tried and not queued."""

    dry_run: Literal[True] = True
    workflow_id: str
    parameters: dict[str, Any] = Field(description="Every value in force by name, those left out included.")
    seeds: dict[str, int] = Field(description="Seeds by node and input; those asked for by -1 are drawn anew.")
    graph: dict[str, Any] = Field(description="The graph with every value bound, as it would be rendered.")
    warnings: list[str] = Field(default_factory=list)
    backends: list[ProspectView] = Field(description="The first 50 that may run it.")
    would_wait: bool = Field(description="Whether no backend that can run it is free now.")


def refuse_dry_field(document: dict[str, Any]) -> None:
    """Refuse a manifest that asks for a dry run in a field: ignored like other unknown ones, it would be rendered.

    Args:
        document: of a manifest, as it came over HTTP or lay in the Inbox.

    Raises:
        ManifestError: it says `dry_run`, and means it.
    """
    if document.get("dry_run"):
        raise ManifestError.at(
            "dry_run",
            message="a manifest does not say this; as a field it would be ignored and the job rendered",
            code="dry_run",
            hint="Ask with POST /api/job?dry_run=1 or `orchestrator-mcp submit --dry-run`, or take the field out.",
        )
