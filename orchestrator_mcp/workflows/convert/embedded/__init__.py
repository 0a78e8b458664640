"""Workflows inside of pictures, films, sounds and models, where ComfyUI and its video nodes write them."""

from orchestrator_mcp.workflows.convert.embedded.finding import Embedded, find_workflow

__all__ = ["Embedded", "find_workflow"]
