"""Manifests on their way in, as a door would hand them to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator_mcp.domain.access import LOCAL
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.service import Submission


def submission(*, beside: Path | None = None, **fields: Any) -> Submission:
    """A manifest that came by HTTP from this machine.

    Args:
        beside: the job folder that it came in.
        fields: of the manifest.
    """
    return Submission(manifest=Manifest.model_validate(fields), door=Door.HTTP, by=LOCAL, beside=beside)
