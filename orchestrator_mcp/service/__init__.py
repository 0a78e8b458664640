"""What every door calls: checks before a job is queued, views of what is stored, streams of what changes."""

from __future__ import annotations

from orchestrator_mcp.service.service import ANONYMOUS, JobService, OutputFile

__all__ = ["ANONYMOUS", "JobService", "OutputFile"]
