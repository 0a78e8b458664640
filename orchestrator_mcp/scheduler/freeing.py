"""The memory of a backend is freed between two families of models, where that is configured."""

from __future__ import annotations

import logging

from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.errors import BackendError

log = logging.getLogger(__name__)


async def free_before(backend: Backend, lane: LaneSpec) -> None:
    """Have a backend free its memory if the job that is about to be sent needs other models than the one before it.

    ComfyUI does it after the prompt that runs, and at once when none does: so a standby of another family finds the
    memory free, and the job before it keeps its models to its end. An idle worker frees when it next wakes; asking
    for its memory afterwards gives it the time, and shows the operator what came of it.

    Args:
        backend: where the job goes.
        lane: what the job needs.
    """
    before, key = backend.family, lane.model_key
    if not key:
        return
    backend.family = key
    if not backend.settings.free_between_models or before in ("", key) or backend.sharing.foreign:
        return  # whoever else uses it keeps what they have loaded
    try:
        if await backend.client.free():
            backend.stats = await backend.client.stats()
            log.info("its memory was freed: %s comes after %s", key, before)
    except BackendError as error:
        log.warning("its memory cannot be freed now: %s", error.message)
