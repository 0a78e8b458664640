"""The bytes of an output: ranges, caching, and the headers that keep a hostile file from running in a browser."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from orchestrator_mcp.domain.media import INLINE_TYPES
from orchestrator_mcp.doors.http.answers import WrongRequest
from orchestrator_mcp.errors import NotFoundError
from orchestrator_mcp.service import JobPreview, OutputFile

_RANGE: Final = re.compile(
    r"\s*bytes\s*=\s*(?:(?P<first>[0-9]{1,18})\s*-\s*(?P<last>[0-9]{0,18})|-\s*(?P<tail>[0-9]{1,18}))\s*"
)

PART: Final = 256 * 1024
"""Bytes read at once: each reading is a trip to a thread, and each reader may hold as many in memory."""

_CONTAINED: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox",
    "cross-origin-resource-policy": "same-site",
}


def entity_tag(sha256: str) -> str:
    """The ETag of a file: its hash, because that is what its bytes are."""
    return f'"{sha256}"'


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether a reader already has this version (RFC 9110, 13.1.2: weak comparison).

    Args:
        if_none_match: the header's value.
        tag: the file's ETag.
    """
    return any(
        candidate.strip().removeprefix("W/") == tag or candidate.strip() == "*"
        for candidate in if_none_match.split(",")
    )


def is_beyond(wanted: str, size: int) -> bool:
    """Whether a `Range` header asks for nothing that the file has.

    Args:
        wanted: the header's value; anything but a single range of bytes is never beyond.
        size: bytes of the file.
    """
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return False
    return int(match["tail"]) == 0 or size == 0 if match["tail"] else int(match["first"]) >= size


def is_single_range(wanted: str) -> bool:
    """Whether a `Range` header is one that is served in part; all others get the whole file (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return False
    return not (match["first"] and match["last"] and int(match["last"]) < int(match["first"]))


def output_headers(file: OutputFile) -> dict[str, str]:
    """What goes with the bytes of an output, whole or in part."""
    return {
        "etag": entity_tag(file.view.sha256),
        "cache-control": "private, max-age=31536000, immutable",
        **_CONTAINED,
    }


async def serve_output(request: Request, file: OutputFile) -> Response:
    """The answer to a GET or HEAD of an output.

    Args:
        request: the request; its conditions and range are followed.
        file: what the service found.

    Raises:
        NotFoundError: the file has been removed meanwhile.
        WrongRequest: the range lies beyond its end (416).
    """
    headers = output_headers(file)
    if is_known(request.headers.get("if-none-match", ""), headers["etag"]):
        return Response(status_code=304, headers=headers)
    wanted = _followed_range(request, headers["etag"])
    whole = request.method == "GET" and not wanted
    try:
        found, data = await anyio.to_thread.run_sync(_look, file.path, PART if whole else 0)
    except OSError as error:
        raise NotFoundError("output", file.view.name) from error
    if not stat.S_ISREG(found.st_mode):
        raise NotFoundError("output", file.view.name)
    if is_beyond(wanted, found.st_size):
        raise WrongRequest(
            416,
            code="range_not_satisfiable",
            detail=f"The file has {found.st_size:,} bytes; the range lies beyond its end.",
            headers={"content-range": f"bytes */{found.st_size}"},
        )
    if not is_single_range(wanted):
        _forget_range(request)
    response = _file_response(file, found, headers)
    return response if data is None else Response(data, headers=response.headers)


def serve_preview(request: Request, seen: JobPreview) -> Response:
    """The answer to a GET or HEAD of a preview.

    Args:
        request: the request; its condition is followed.
        seen: what the service drew.
    """
    headers = {
        "etag": entity_tag(hashlib.sha256(seen.picture.data).hexdigest()),
        "cache-control": "private, max-age=3600" if seen.settled else "private, no-cache",
        **_CONTAINED,
    }
    if is_known(request.headers.get("if-none-match", ""), headers["etag"]):
        return Response(status_code=304, headers=headers)
    return Response(seen.picture.data, headers=headers, media_type=seen.picture.media_type)


def _look(path: Path, most: int) -> tuple[os.stat_result, bytes | None]:
    """What a file is, and its bytes if they are no more than that; on a thread."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size > most:
        return found, None
    with path.open("rb") as file:
        data = file.read(most + 1)
    return found, data if len(data) == found.st_size else None


class _InParts(FileResponse):
    chunk_size = PART


def _file_response(file: OutputFile, found: os.stat_result, headers: Mapping[str, str]) -> FileResponse:
    media_type = file.view.media_type
    return _InParts(
        file.path,
        headers=headers,
        media_type=media_type,
        filename=file.view.name,
        stat_result=found,
        content_disposition_type="inline" if media_type in INLINE_TYPES else "attachment",
    )


def _followed_range(request: Request, tag: str) -> str:
    """The request's `Range`; it counts with GET alone, and of this version alone (RFC 9110, 13.1.5 and 14.2)."""
    if request.method != "GET" or request.headers.get("if-range", tag).strip() != tag:
        return ""
    return request.headers.get("range", "")


def _forget_range(request: Request) -> None:
    request.scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name.lower() != b"range"]
