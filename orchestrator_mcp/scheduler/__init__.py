"""Who renders what, when: the dispatcher, its runners, and the reconciler who owns doubt."""

from __future__ import annotations

from orchestrator_mcp.scheduler.dispatcher import Dispatcher
from orchestrator_mcp.scheduler.resources import Resources

__all__ = ["Dispatcher", "Resources"]
