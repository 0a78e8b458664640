"""Which scope a request needs: the one table for every route of every door, asked before any route is.

It decides on the path alone, and closes what it does not know: a route that changes something and stands in no row
needs `admin`.
"""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.access import Scope
from orchestrator_mcp.domain.wishes import Action

OPEN: Final = ("/health", "/i/*")
"""Answers without a token, because a load balancer has none, and programs fetch the icons of tools without theirs."""

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
    if method in LOOKING:
        return None if any(_fits(row, bare) for row in OPEN) else Scope.READ
    rows = (scope for (changed, row), scope in CHANGING.items() if changed == method and _fits(row, bare))
    return next(rows, Scope.ADMIN)


def _fits(row: str, path: str) -> bool:
    wanted, found = row.split("/"), path.split("/")
    same_length = len(wanted) == len(found)
    return same_length and all(part in ("*", there) for part, there in zip(wanted, found, strict=True))
