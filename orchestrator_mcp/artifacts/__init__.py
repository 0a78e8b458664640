"""Output files of jobs: received from a backend, checked, hashed, and kept by their content."""

from orchestrator_mcp.artifacts.arriving import Gathering, StoredFile
from orchestrator_mcp.artifacts.keeping import ArtifactLimits, ArtifactStore
from orchestrator_mcp.artifacts.naming import OutputPlace, output_names

__all__ = ["ArtifactLimits", "ArtifactStore", "Gathering", "OutputPlace", "StoredFile", "output_names"]
