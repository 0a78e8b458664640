"""Bodies that are files: a picture as it is, or a form with a file in it. Large ones lie on the disk, not in memory."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

import anyio.to_thread
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from orchestrator_mcp.doors.http.answers import WrongRequest
from orchestrator_mcp.errors import ManifestError, TooLargeError

IN_MEMORY: Final = 1 << 20  # bytes
FORM: Final = "multipart/form-data"
_MOST_PARTS: Final = 16


@dataclass(frozen=True, kw_only=True)
class FormFile:
    """A file of a form.

    Attributes:
        name: what the caller says that it is called; hostile.
        content: open, and closed with the form.
    """

    name: str
    content: BinaryIO


@dataclass(frozen=True, kw_only=True)
class Form:
    """The parts of a form, by name."""

    files: dict[str, FormFile]
    fields: dict[str, str]


def media_type_of(request: Request) -> str:
    """The type that a body says to be of, folded, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


def check_length(request: Request, most: int, *, limit: str) -> None:
    """Refuse a body that says itself that it is too long, before a byte of it is read.

    Args:
        request: the request.
        most: how many bytes it may have.
        limit: the key of the configuration that says so.

    Raises:
        TooLargeError: it is longer.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
        raise too_large(most, limit=limit)


def too_large(most: int, *, limit: str) -> TooLargeError:
    """The refusal of a body; see `check_length`."""
    hint = "Put pictures into files of their own instead of the manifest, or raise" if "body" in limit else "Raise"
    return TooLargeError(f"The body is larger than {most:,} bytes.", hint=f"{hint} {limit}.", details={"limit": most})


async def received(request: Request, most: int, *, limit: str) -> AsyncGenerator[bytes, None]:
    """The body in pieces as they come; see `check_length`."""
    check_length(request, most, limit=limit)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise too_large(most, limit=limit)
        yield chunk


@asynccontextmanager
async def received_file(request: Request, most: int, *, limit: str) -> AsyncIterator[BinaryIO]:
    """The body as an open file at its beginning; gone with the block.

    Args:
        request: the request.
        most: how many bytes it may have.
        limit: the key of the configuration that says so.

    Raises:
        TooLargeError: it is longer.
        ClientDisconnect: the client left while sending.
    """
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        size = 0
        async for chunk in received(request, most, limit=limit):
            size += len(chunk)
            if size > IN_MEMORY:
                await anyio.to_thread.run_sync(file.write, chunk)
            else:
                file.write(chunk)
        file.seek(0)
        yield cast("BinaryIO", file)


@asynccontextmanager
async def received_form(request: Request, most: int, *, limit: str, most_field: int) -> AsyncIterator[Form]:
    """The parts of a form; its files are gone with the block.

    Args:
        request: a POST of `multipart/form-data`.
        most: how many bytes all of it may have.
        limit: the key of the configuration that says so.
        most_field: how many bytes a part may have that is no file.

    Raises:
        WrongRequest: it is no such form, or has too many parts (400).
        ManifestError: two parts have one name.
        TooLargeError: it is longer.
        ClientDisconnect: the client left while sending.
    """
    stream = received(request, most, limit=limit)
    parser = MultiPartParser(
        request.headers, stream, max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=most_field
    )
    try:
        found = await parser.parse()
    except MultiPartException as error:
        detail = f"The form cannot be read: {error.message}"
        raise WrongRequest(400, code="form", detail=detail, hint="Send it as curl -F does.") from error
    try:
        yield _form_of(list(found.multi_items()))
    finally:
        await found.close()


def _form_of(parts: list[tuple[str, UploadFile | str]]) -> Form:
    form = Form(files={}, fields={})
    for name, part in parts:
        if name in form.files or name in form.fields:
            raise ManifestError.at("body", name[:80], message="the form has this part more than once", code="repeated")
        if isinstance(part, str):
            form.fields[name] = part
        else:
            form.files[name] = FormFile(name=part.filename or "", content=part.file)
    return form
