"""What the nodes of a backend are: its own `GET /object_info`, as the orchestrator knows it."""

from __future__ import annotations

from dataclasses import dataclass

import anyio.to_thread

from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.errors import UnavailableError

SOON = 5.0  # seconds after which a backend that has just been started may have answered


@dataclass(frozen=True, kw_only=True)
class NodeClasses:
    """The node classes of a backend.

    Attributes:
        text: JSON, class -> definition; some megabytes.
        digest: the same for equal classes.
    """

    text: bytes
    digest: str


async def node_classes(pool: BackendPool, backend_id: str) -> NodeClasses:
    """Give what a backend told of its nodes when it was last asked; it need not be online now.

    Args:
        pool: the backends.
        backend_id: one of them.

    Raises:
        NotFoundError: there is no such backend.
        UnavailableError: it has not answered yet.
    """
    catalogue = pool[backend_id].catalogue
    if catalogue is None:
        raise UnavailableError(
            f"The backend {backend_id!r} has not told of its nodes yet.",
            hint="See GET /api/backends for whether it is online.",
            retry_after=SOON,
        )
    return await anyio.to_thread.run_sync(_written, catalogue)


def _written(catalogue: NodeCatalogue) -> NodeClasses:
    return NodeClasses(text=catalogue.as_json(), digest=catalogue.digest)
