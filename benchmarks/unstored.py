"""The same server with a store that answers at once and keeps nothing: what the route costs without the disk."""

from __future__ import annotations

from orchestrator_mcp.composition import core
from orchestrator_mcp.domain.limits import NO_LIMITS, QueueLimits
from orchestrator_mcp.server import main
from orchestrator_mcp.store import Acceptance, JobStore, NewJob


class Unstored(JobStore):
    """Accepts, and forgets."""

    async def accept(self, new: NewJob, *, limits: QueueLimits = NO_LIMITS) -> Acceptance:
        """Say that a job was accepted."""
        return Acceptance(job_id=new.job_id, submitted_at=new.submitted_at, warnings=tuple(new.spec.warnings))


if __name__ == "__main__":
    vars(core)["JobStore"] = Unstored
    main()
