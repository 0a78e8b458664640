"""Input files on their way in: found under the configured folders or in a manifest, and judged before they are kept."""

from __future__ import annotations

from orchestrator_mcp.assets.decoding import try_decoding
from orchestrator_mcp.assets.inline import MOST_INLINE, inline_content, is_inline
from orchestrator_mcp.assets.judging import judge
from orchestrator_mcp.assets.roots import Found, OutsideError, open_below, open_under_roots

__all__ = [
    "MOST_INLINE",
    "Found",
    "OutsideError",
    "inline_content",
    "is_inline",
    "judge",
    "open_below",
    "open_under_roots",
    "try_decoding",
]
