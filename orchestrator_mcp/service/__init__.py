"""What every door calls: checks before a job is queued, views of what is stored, streams of what changes."""

from __future__ import annotations

from orchestrator_mcp.service.file_manifests import ManifestInFile, manifest_in_file
from orchestrator_mcp.service.previewing import JobPreview
from orchestrator_mcp.service.service import JobService, OutputFile

__all__ = ["JobPreview", "JobService", "ManifestInFile", "OutputFile", "manifest_in_file"]
