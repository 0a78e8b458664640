"""Backends that differ in nodes and models, behind a core of their own; some can change while they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio

from orchestrator_mcp.backends.catalogue import Catalogues, NodeCatalogue
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.sandbox.options import DEFAULT_MODELS
from orchestrator_mcp.settings import BackendSettings
from tests.scheduler.core import Core, backend_for

FLUX = "diffusion_models/flux1-dev.safetensors"


def named(servers: Mapping[str, SandboxServer]) -> list[BackendSettings]:
    """Entries for servers, by the names that they are to have."""
    return [backend_for(server, name) for name, server in servers.items()]


def with_models(server: SandboxServer, *models: str) -> None:
    """From now on a server has these models and no others."""
    server.options = replace(server.options, models=models)


def without(*models: str) -> tuple[str, ...]:
    """The usual models but for some."""
    return tuple(model for model in DEFAULT_MODELS if model not in models)


async def until_known(running: Core) -> None:
    """Wait until every backend has said what it has."""
    with anyio.fail_after(running.patience):
        for view in running.service.backends():
            await running.until_backend(view.id, "idle")


def pool_of(running: Core) -> BackendPool:
    """The backends themselves."""
    return running.service._parts.pool


def grow_old(running: Core) -> None:
    """What every backend said counts as said a minute ago: too old for a refusal, too new for the usual look."""
    for backend in pool_of(running):
        backend.catalogue_at -= 60


def count_looks(running: Core, backend_id: str) -> list[str]:
    """A list that grows with each `GET /object_info` to a backend."""
    client = pool_of(running)[backend_id].client
    asked, looks = client.object_info, list[str]()

    async def counted(known: Catalogues | None = None) -> NodeCatalogue:
        looks.append(backend_id)
        return await asked(known)

    client.object_info = counted  # type: ignore[method-assign]
    return looks


async def look_again(running: Core) -> None:
    """Have every backend asked what it has, as after a refusal."""
    for backend in pool_of(running):
        await pool_of(running).looks.renew(backend, older_than=-1.0)
