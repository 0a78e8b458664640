"""The files that a render begins with, brought to its backend before the graph is sent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.backends.input_folder import InputFile
from orchestrator_mcp.domain.assets import input_name
from orchestrator_mcp.domain.chains import JobInput
from orchestrator_mcp.domain.jobs import Outcome
from orchestrator_mcp.domain.retry import Ended
from orchestrator_mcp.errors import BackendAmbiguousError, BackendError, PromptRejectedError
from orchestrator_mcp.scheduler import verdicts
from orchestrator_mcp.scheduler.resources import Resources

log = logging.getLogger(__name__)

_PASSING: Final = frozenset({408, 425, 429})  # refusals that another try may not meet


async def bring(resources: Resources, backend: Backend, inputs: Sequence[JobInput]) -> dict[str, str] | Ended:
    """See that every input file of a job is on its backend.

    Args:
        resources: see `Resources`.
        backend: where the job is to be rendered.
        inputs: its files.

    Returns:
        sha256 -> what the file is called there; or how the attempt ends, because one cannot be brought.
    """
    names: dict[str, str] = {}
    for one in inputs:
        if one.sha256 in names:
            continue
        name = input_name(one.sha256, one.extension)
        file = InputFile(sha256=one.sha256, name=name, path=resources.artifacts.path_of(one.sha256))
        try:
            names[one.sha256] = await backend.inputs.bring(backend.client, file, falls=backend.falls)
        except BackendError as error:
            return _not_brought(backend, error)
        except OSError as error:
            log.error("an input file cannot be read: %s", error)
            return verdicts.input_gone(one, error.strerror or str(error))
    return names


def lacking(error: PromptRejectedError, inputs: Sequence[JobInput], names: dict[str, str]) -> set[str]:
    """The files, by sha256, that a backend says it does not have although they were brought there.

    Args:
        error: its refusal of the graph.
        inputs: the files of the job.
        names: what each is called there.
    """
    missing = {thing.name for thing in error.missing}
    return {one.sha256 for one in inputs if names.get(one.sha256) in missing}


def _not_brought(backend: Backend, error: BackendError) -> Ended:
    """Nothing was rendered and nothing is charged; only a backend that will never take the file is left aside."""
    status = error.details.get("status")
    refused = isinstance(error, BackendAmbiguousError) and isinstance(status, int) and 400 <= status < 500
    if refused and status not in _PASSING:
        return verdicts.input_refused(backend.id, error)
    backend.distrust()
    return Ended(outcome=Outcome.REFUSED, reason=f"an input file could not be brought: {error.message}")
