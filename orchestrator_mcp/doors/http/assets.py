"""Input files that are sent ahead: a body as it is, or a form with one file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

import anyio.to_thread
from starlette.requests import Request

from orchestrator_mcp.doors.http.answers import WrongRequest
from orchestrator_mcp.doors.http.uploads import FORM, media_type_of, received, received_form
from orchestrator_mcp.errors import ManifestError

PART: Final = "file"
_LIMIT: Final = "limits.upload_bytes"
_AROUND: Final = 64 * 1024  # bytes that a form may have beside its file
_RAW: Final = ("image/", "video/", "audio/")
_ANY: Final = "application/octet-stream"
_PIECE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SentFile:
    """A file on its way in.

    Attributes:
        chunks: its bytes.
        name: what its sender calls it; hostile, empty when nothing is said.
    """

    chunks: AsyncIterator[bytes]
    name: str = ""


@asynccontextmanager
async def sent_file(request: Request, most: int) -> AsyncIterator[SentFile]:
    """The file that a request brings.

    Args:
        request: a POST.
        most: how many bytes the file may have.

    Raises:
        WrongRequest: it is no file by its headers (415), or no form (400).
        TooLargeError: it is longer.
        ManifestError: the form has no file of the right name, or something beside it.
        ClientDisconnect: the client left while sending.
    """
    kind = media_type_of(request)
    if request.headers.get("content-encoding", "identity").strip().casefold() != "identity":
        raise _not_taken("compressed", "Compressed bodies are not taken.", "Send the file without Content-Encoding.")
    if kind == FORM:
        async with received_form(request, most + _AROUND, limit=_LIMIT, most_field=_AROUND) as form:
            file = form.files.get(PART)
            if file is None or len(form.files) + len(form.fields) > 1:
                message = "the form needs one file of this name, and nothing else"
                raise ManifestError.at(PART, message=message, code="missing" if file is None else "unknown_name")
            yield SentFile(chunks=_pieces(file.content), name=file.name)
    elif kind == _ANY or kind.startswith(_RAW):
        yield SentFile(chunks=received(request, most, limit=_LIMIT))
    else:
        hint = "Send its type (Content-Type: image/png, or application/octet-stream), or a form: curl -F file=@FILE."
        raise _not_taken("no_file", "The body must be a picture, video or sound, or a form with one, and say so.", hint)


def _not_taken(code: str, detail: str, hint: str) -> WrongRequest:
    return WrongRequest(415, code=code, detail=detail, hint=hint, headers={"accept-encoding": "identity"})


async def _pieces(content: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await anyio.to_thread.run_sync(content.read, _PIECE):
        yield piece
