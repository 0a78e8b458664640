"""From the bytes of a dropped file to a manifest, or to words about what is wrong with it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from orchestrator_mcp.clock import format_time
from orchestrator_mcp.domain.documents import MAX_BYTES, MAX_DEPTH, parse_document
from orchestrator_mcp.domain.dry_runs import refuse_dry_field
from orchestrator_mcp.domain.manifests import Manifest, problems_in
from orchestrator_mcp.domain.results import is_result, stem_of_result
from orchestrator_mcp.domain.workflow_documents import as_manifest
from orchestrator_mcp.errors import ManifestError, OrchestratorError, Problem, TooLargeError
from orchestrator_mcp.files import ChangedWhileReadError, FileTooLargeError
from orchestrator_mcp.service import manifest_in_file
from watcher.leases import HeldFile


@dataclass(frozen=True, kw_only=True)
class Document:
    """The document of a manifest, read from a whole file.

    Attributes:
        content: the JSON object; not checked yet.
        size: bytes of the file.
        sha256: of its bytes.
        warnings: what of a picture could not be read and does not matter.
        stem: how the folder of a result was called that is to be done again.
    """

    content: dict[str, Any]
    size: int
    sha256: str
    warnings: tuple[str, ...] = ()
    stem: str | None = None


def read_document(file: HeldFile, *, label: str, most: int = MAX_BYTES, depth: int = MAX_DEPTH) -> Document:
    """Read a dropped manifest whole; a workflow that stands alone, or a result, is a manifest with that workflow.

    Args:
        file: nothing of it was read yet.
        label: what a workflow is called that stands alone.
        most: bytes that it may have.
        depth: levels that its JSON may have.

    Raises:
        ManifestError: it is no JSON object.
        TooLargeError: it has more than `most` bytes.
        OSError: it cannot be read, or changed meanwhile.
    """
    try:
        content = file.read(most)
    except FileTooLargeError as large:
        raise TooLargeError(f"The manifest is too large: {large.strerror}.") from large
    document = parse_document(content, max_bytes=most, max_depth=depth)
    return Document(
        content=as_manifest(document, label=label),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        stem=stem_of_result(document) if is_result(document) else None,
    )


def read_picture(
    file: HeldFile, *, label: str, most: int, most_json: int = MAX_BYTES, depth: int = MAX_DEPTH
) -> Document:
    """Read the workflow that a dropped picture, film or sound carries.

    Args:
        file: nothing of it was read yet.
        label: what the workflow is called.
        most: bytes that the file may have.
        most_json: bytes that the workflow may have.
        depth: levels that its JSON may have.

    Raises:
        ManifestError: it carries none that can be read.
        TooLargeError: it, or the workflow in it, is too large.
        OSError: it cannot be read, or changed meanwhile.
    """
    size = file.signature.size
    if size > most:
        raise TooLargeError(
            f"The file has {size:,} bytes; at most {most:,} are taken.", hint="Raise limits.upload_bytes."
        )
    with file.reader() as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        source.seek(0)
        found = manifest_in_file(source, label=label, most=most_json, depth=depth)
    if not file.is_still(file.path):
        raise ChangedWhileReadError(errno.EAGAIN, "the file changed while it was read", os.fspath(file.path))
    return Document(content=found.document, size=size, sha256=digest, warnings=found.warnings)


def manifest_in(document: dict[str, Any]) -> Manifest:
    """Take the manifest out of a document.

    Raises:
        ManifestError: with one problem for each wrong field.
    """
    refuse_dry_field(document)
    try:
        return Manifest.model_validate(document)
    except ValidationError as wrong:
        raise ManifestError(problems_in(wrong)) from wrong


def error_report(
    *,
    code: str,
    message: str,
    hint: str | None,
    file_name: str,
    claim_id: str,
    at: datetime,
    problems: Sequence[Problem] = (),
    job: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What `<name>.error.json` says.

    Args:
        code: a stable word.
        message: what is wrong, for people.
        hint: what to do about it.
        file_name: what the file was called.
        claim_id: under which it was taken.
        at: the moment.
        problems: one for each wrong field.
        job: more fields, when there was a job.
    """
    return {
        "schema": "orchestrator-error/1",
        "code": code,
        "message": message,
        "hint": hint,
        "problems": [
            {"path": list(each.path), "message": each.message, "code": each.code, "allowed": list(each.allowed)}
            for each in problems
        ],
        "file": file_name,
        "claim_id": claim_id,
        "at": format_time(at),
        **(job or {}),
    }


def refusal_report(refusal: Exception, *, file_name: str, claim_id: str, at: datetime) -> dict[str, Any]:
    """What `<name>.error.json` says of a file that never became a job."""
    known = refusal if isinstance(refusal, OrchestratorError) else None
    return error_report(
        code=_code(refusal),
        message=known.message if known else str(refusal),
        hint=known.hint if known else None,
        problems=refusal.problems if isinstance(refusal, ManifestError) else (),
        file_name=file_name,
        claim_id=claim_id,
        at=at,
    )


def _code(refusal: Exception) -> str:
    """The stable word: that of the one problem when it concerns the whole document."""
    if isinstance(refusal, ManifestError) and len(refusal.problems) == 1:
        problem = refusal.problems[0]
        return refusal.code if problem.path or problem.code == "invalid" else problem.code
    return refusal.code if isinstance(refusal, OrchestratorError) else "unreadable"
