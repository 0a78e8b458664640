"""Which scope a request needs: the one table for every route of every door, asked before any route is.

It decides on the path alone, and closes what it does not know: a route that changes something and stands in no row
needs `admin`.
"""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.access import Scope
from orchestrator_mcp.domain.wishes import Action

OPEN: Final = frozenset({"/health"})
"""Answers without a token, because a load balancer has none."""

LOOKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

CHANGING: Final[dict[tuple[str, str], Scope]] = {
    ("POST", "/api/job"): Scope.SUBMIT,
    ("POST", "/api/job/*/rerun"): Scope.SUBMIT,
    ("DELETE", "/api/job/*"): Scope.SUBMIT,
    ("POST", "/api/assets"): Scope.SUBMIT,
    ("POST", "/api/batch/*/retry"): Scope.SUBMIT,
    ("DELETE", "/api/batch/*"): Scope.SUBMIT,
    **{("POST", f"/api/backends/*/{action.value}"): Scope.ADMIN for action in Action},
    ("DELETE", "/api/backends/*/blocked"): Scope.ADMIN,
    # A message of an agent: each tool asks for its own scope, see doors/mcp/tools.py.
    ("POST", "/messages"): Scope.READ,
    ("POST", "/mcp"): Scope.READ,
    ("DELETE", "/mcp"): Scope.READ,
}
"""Method and path -> scope; `*` stands for one part of a path."""


def needed_scope(method: str, path: str) -> Scope | None:
    """What a caller must be allowed for this request.

    Args:
        method: in upper case; GET for a WebSocket.
        path: `scope["path"]`, decoded; a slash at its end changes nothing.

    Returns:
        The scope; None when nobody is asked.
    """
    bare = path.rstrip("/") or "/"
    if bare in OPEN and method in LOOKING:
        return None
    if method in LOOKING:
        return Scope.READ
    return next((scope for row, scope in CHANGING.items() if _fits(row, method, bare)), Scope.ADMIN)


def _fits(row: tuple[str, str], method: str, path: str) -> bool:
    wanted, found = row[1].split("/"), path.split("/")
    same_length = row[0] == method and len(wanted) == len(found)
    return same_length and all(part in ("*", there) for part, there in zip(wanted, found, strict=True))
