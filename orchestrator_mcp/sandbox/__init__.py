"""A small ComfyUI-compatible render server with no models."""

from __future__ import annotations

from orchestrator_mcp.sandbox.farm import Sandbox, same_for_all, serve_many
from orchestrator_mcp.sandbox.faults import FAULTS, PROXY_FAULTS
from orchestrator_mcp.sandbox.options import DEFAULT_MODELS, SandboxOptions
from orchestrator_mcp.sandbox.proxy import FaultProxy
from orchestrator_mcp.sandbox.server import SandboxServer

__all__ = [
    "DEFAULT_MODELS",
    "FAULTS",
    "PROXY_FAULTS",
    "FaultProxy",
    "Sandbox",
    "SandboxOptions",
    "SandboxServer",
    "same_for_all",
    "serve_many",
]
