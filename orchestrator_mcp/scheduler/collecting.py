"""From a finished prompt to verified artifacts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from orchestrator_mcp.artifacts import Gathering, OutputPlace, StoredFile, output_names
from orchestrator_mcp.backends.history import DeclaredOutput
from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.domain.jobs import Artifact
from orchestrator_mcp.domain.media import MediaFormat, belies
from orchestrator_mcp.errors import ArtifactError, BackendError
from orchestrator_mcp.scheduler.resources import Resources

log = logging.getLogger(__name__)

TRIES: Final = 3  # of a file that comes torn
PAUSE: Final = 0.5  # seconds before the next try, growing


async def collect(
    resources: Resources, backend: Backend, outputs: Sequence[DeclaredOutput], stem: str
) -> list[Artifact]:
    """Fetch, verify and hash every output.

    Args:
        resources: see `Resources`.
        backend: where they lie.
        outputs: those that count.
        stem: readable beginning of the names.

    Raises:
        ArtifactError: one is missing or stays torn, or there are too many.
        BackendError: the backend is away; try again later.
    """
    if len(outputs) > resources.limits.outputs:
        raise ArtifactError(
            f"The job made {len(outputs)} files; limits.outputs allows {resources.limits.outputs}.",
            hint="Raise limits.outputs in config.yaml, or let the workflow save fewer files.",
        )
    async with resources.artifacts.together() as arriving:
        stored = [
            (output, await _fetch(resources, backend, output, arriving)) for output in outputs if output.text != ""
        ]
    names = output_names((OutputPlace(output.node_id, file.extension) for output, file in stored), stem)
    return [
        Artifact(
            name=name,
            node=output.node_id,
            kind=file.kind,
            media_type=file.media_type,
            size=file.size,
            sha256=file.sha256,
        )
        for name, (output, file) in zip(names, stored, strict=True)
    ]


async def _fetch(resources: Resources, backend: Backend, output: DeclaredOutput, arriving: Gathering) -> StoredFile:
    if output.text is not None:
        return await arriving.receive_text(output.text)
    for number in range(1, TRIES + 1):
        try:
            async with backend.client.view(output) as stream:
                return await arriving.receive(
                    stream.chunks(),
                    declared_length=stream.content_length,
                    name_hint=output.filename,
                    most=resources.limits.output_bytes,
                    check=partial(_check_promise, output),
                )
        except (ArtifactError, BackendError) as error:
            if number == TRIES:
                raise
            log.warning("output %r came wrong, try %d: %s", output.filename, number, error.message)
            await resources.clock.sleep(PAUSE * number)
    raise AssertionError("the last try returns or raises")


async def _check_promise(output: DeclaredOutput, file: StoredFile, _place: Path) -> None:
    found = MediaFormat(media_type=file.media_type, kind=file.kind, extension=file.extension)
    if belies(output.filename, promised=output.kind, found=found):
        raise ArtifactError(
            f"The file {output.filename!r} is no {output.kind}: by its content it is {file.media_type}.",
            hint="A proxy may have answered in the backend's place, or the file was not written whole there.",
        )
