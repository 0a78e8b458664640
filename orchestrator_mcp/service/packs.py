"""Which node pack has a class: told by any backend that has it."""

from __future__ import annotations

from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.domain.preflight import Pack, PackOf

_CUSTOM = "custom_nodes."


def packs_known(pool: BackendPool) -> PackOf:
    """A way to ask where a node class comes from.

    Args:
        pool: the backends; those that are offline tell by what they said last.
    """

    def pack_of(class_type: str) -> Pack | None:
        for backend in pool:
            module = backend.catalogue.python_module(class_type) if backend.catalogue is not None else None
            if module is not None:
                return Pack(module.removeprefix(_CUSTOM) if module.startswith(_CUSTOM) else "", backend.id)
        return None

    return pack_of
