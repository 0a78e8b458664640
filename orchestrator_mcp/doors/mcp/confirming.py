"""Asking a person before a large batch is queued, where the agent's program can ask one; never required."""

from __future__ import annotations

from typing import Any, Protocol, cast

from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit
from pydantic import BaseModel, Field

from orchestrator_mcp.domain.batches import MOST_JOBS, extent
from orchestrator_mcp.errors import ForbiddenError


class Confirmation(BaseModel):
    """What the person is asked."""

    render: bool = Field(default=True, title="Render them", description="Queue all of these jobs.")


class AsksFirst(Protocol):
    """A server that knows how large a batch may be before a person is asked."""

    @property
    def confirm_jobs(self) -> int:
        """The most jobs that are queued without a question; 0 never asks."""


async def confirm(
    ctx: Context[Any, Any], batch: dict[str, Any] | None, dry_run: bool
) -> Confirmation | Elicit[Confirmation]:
    """Ask about a batch that is large, unless nobody can be asked.

    Args:
        ctx: of the call.
        batch: what would be queued, as it came.
        dry_run: whether nothing would be queued.
    """
    most = cast(AsksFirst, ctx.mcp_server).confirm_jobs
    count = extent(batch) if batch is not None and not dry_run and most else 0
    if not most < count <= MOST_JOBS or not _can_ask(ctx):
        return Confirmation()
    return Elicit(f"The agent wants to queue {count:,} render jobs in one batch. Shall they be rendered?", Confirmation)


def require_agreement(answer: ElicitationResult[Confirmation]) -> None:
    """Go on only if the person agreed, or was not asked.

    Raises:
        ForbiddenError: they did not.
    """
    if not isinstance(answer, AcceptedElicitation) or not answer.data.render:
        raise ForbiddenError(
            "Nothing was queued: the person who was asked did not agree to so many jobs. Ask what they want instead; a "
            "smaller batch is queued without a question."
        )


def _can_ask(ctx: Context[Any, Any]) -> bool:
    capabilities = ctx.client_capabilities
    asked = capabilities.elicitation if capabilities is not None else None
    return asked is not None and (asked.form is not None or asked.url is None)
