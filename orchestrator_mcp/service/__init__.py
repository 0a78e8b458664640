"""What every door calls: checks before a job is queued, views of what is stored, streams of what changes."""

from __future__ import annotations

from orchestrator_mcp.service.files import KeptAsset, OutputFile
from orchestrator_mcp.service.parts import ServiceParts
from orchestrator_mcp.service.previewing import JobPreview
from orchestrator_mcp.service.service import JobService
from orchestrator_mcp.service.submission import Submission
from orchestrator_mcp.workflows.file_manifests import ManifestInFile, manifest_in_file

__all__ = [
    "JobPreview",
    "JobService",
    "KeptAsset",
    "ManifestInFile",
    "OutputFile",
    "ServiceParts",
    "Submission",
    "manifest_in_file",
]
