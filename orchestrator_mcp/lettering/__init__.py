"""Words in pictures: spelled so that they can be drawn, fitted into boxes, in whichever font has the letters."""

from __future__ import annotations

from orchestrator_mcp.lettering.fitting import Block, clean, fitted, line_height, shortened, width_of, write

__all__ = ["Block", "clean", "fitted", "line_height", "shortened", "width_of", "write"]
