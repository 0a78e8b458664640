"""Files of this machine that a job is to begin with: sent ahead, and named in its manifest."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import anyio.to_thread

from orchestrator_mcp.command.api import Api
from orchestrator_mcp.command.ending import UsageError
from orchestrator_mcp.domain.views import AssetView
from orchestrator_mcp.files import is_missing, open_regular

_PIECE: Final = 1 << 20


def read_inputs(pairs: Sequence[str]) -> dict[str, Path]:
    """Read `name=FILE` texts.

    Args:
        pairs: as they stand on the command line.

    Raises:
        UsageError: there is no `=`, no name or no such file, or a name comes twice.
    """
    found: dict[str, Path] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        name, path = name.strip(), Path(text).expanduser()
        if not separator or not name or not text:
            raise UsageError(f"--input: {pair[:80]!r} is no pair.", hint="Write name=FILE: --input image=face.png.")
        if name in found:
            raise UsageError(f"--input: {name[:80]!r} is given twice.")
        if is_missing(path) or os.path.isdir(path):
            raise UsageError(f"--input {name[:80]}: there is no file {path}.")
        found[name] = path
    return found


async def with_uploads(api: Api, manifest: Mapping[str, Any], inputs: Mapping[str, Path]) -> dict[str, Any]:
    """Send files ahead; the manifest with their names in its parameters.

    Args:
        api: the server.
        manifest: a document.
        inputs: the file for each parameter.

    Raises:
        UsageError: a file cannot be read, or the manifest's parameters are no object.
        RefusedError: the server does not take a file.
        UnreachableError: it does not answer.
    """
    if not inputs:
        return dict(manifest)
    parameters = manifest.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise UsageError("parameters is no object, so no file can be put into it.")
    named = {name: await _upload(api, path) for name, path in inputs.items()}
    return {**manifest, "parameters": {**parameters, **named}}


async def _upload(api: Api, path: Path) -> str:
    try:
        file = await anyio.to_thread.run_sync(lambda: open_regular(path.resolve()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        answer = await api.send_file("/api/assets", _pieces(file), size=size)
    return api.read(AssetView, answer).asset


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await anyio.to_thread.run_sync(file.read, _PIECE):
        yield piece
