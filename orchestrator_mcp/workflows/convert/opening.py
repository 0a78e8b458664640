"""What is in a file: a JSON document, or the workflow that a picture, film or sound carries."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

from orchestrator_mcp.domain.documents import MAX_BYTES, MAX_DEPTH, parse_document
from orchestrator_mcp.errors import ManifestError, Problem
from orchestrator_mcp.workflows.convert.embedded import find_workflow

_HEAD: Final = 64  # bytes


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a file holds.

    Attributes:
        document: the JSON object of a text file, or the workflow in a picture, film or sound.
        embedded: under which name the file carries it; None: the file itself is the document.
        warnings: what could not be read and does not matter, in words.
    """

    document: dict[str, Any]
    embedded: Literal["prompt", "workflow"] | None = None
    warnings: tuple[str, ...] = ()


def open_workflow(file: bytes | BinaryIO, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Opened:
    """Take the workflow, or the document that may hold one, out of a file of any kind.

    Of a picture's `prompt` and `workflow` the prompt is preferred: it is what really ran.

    Args:
        file: its bytes, or an open seekable file, of which only the parts that hold texts are read; hostile.
        max_bytes: how many bytes the JSON may have.
        max_depth: how deep its objects and lists may lie in each other.

    Raises:
        ManifestError: there is none in it (`no_workflow`), it cannot be read (`embedded`), or it is no JSON.
        TooLargeError: the JSON is too large.
        OSError: the file cannot be read.
    """
    source = io.BytesIO(file) if isinstance(file, bytes) else file
    found = find_workflow(source, max_text=max_bytes, max_depth=max_depth)
    if found.prompt is not None:
        return Opened(document=found.prompt, embedded="prompt", warnings=found.problems)
    if found.workflow is not None:
        return Opened(document=found.workflow, embedded="workflow", warnings=found.problems)
    if found.problems:
        raise ManifestError([Problem(path=(), message=text, code="embedded") for text in found.problems])
    source.seek(0)
    if not _is_text(source.read(_HEAD)):
        message = "The file holds no workflow: none of ComfyUI's texts is in it, and it is no JSON."
        hint = "Programs that send pictures on often take such texts out; ask for the original file."
        raise ManifestError([Problem(path=(), message=message, code="no_workflow")], hint=hint)
    source.seek(0)
    return Opened(document=parse_document(source.read(max_bytes + 1), max_bytes=max_bytes, max_depth=max_depth))


def _is_text(head: bytes) -> bool:
    """Whether it may be a JSON document: its first letter begins an object, in UTF-8 or UTF-16."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head.strip():
        return True  # an empty one is told to be empty
    return head[:2] in {b"\xff\xfe", b"\xfe\xff"} or head.lstrip().startswith((b"{", b"["))
