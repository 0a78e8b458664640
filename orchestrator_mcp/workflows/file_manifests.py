"""From a file of any kind to the document of a manifest: for every way in that takes files. Call it in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

from orchestrator_mcp.domain.workflow_documents import around, as_manifest
from orchestrator_mcp.workflows.convert.opening import open_workflow


@dataclass(frozen=True, kw_only=True)
class ManifestInFile:
    """What a file asks for.

    Attributes:
        document: of a manifest, not checked yet.
        warnings: what of the file could not be read and does not matter, in words.
    """

    document: dict[str, Any]
    warnings: tuple[str, ...] = ()


def manifest_in_file(file: BinaryIO, *, label: str | None, most: int, depth: int) -> ManifestInFile:
    """Read a manifest; a workflow in any format; or a picture, film or sound that carries one.

    Args:
        file: open and seekable, of any size: of films only the parts that hold texts are read. Hostile.
        label: what a workflow is called that is not in a manifest, such as the file's name without its ending.
        most: how many bytes its JSON may have.
        depth: how deep that may be nested.

    Raises:
        ManifestError: it holds nothing of the kind, or nothing that can be read.
        TooLargeError: its JSON is too large.
        OSError: it cannot be read.
    """
    opened = open_workflow(file, max_bytes=most, max_depth=depth)
    if opened.embedded is not None:
        return ManifestInFile(document=around(opened.document, label=label), warnings=opened.warnings)
    return ManifestInFile(document=as_manifest(opened.document, label=label), warnings=opened.warnings)
