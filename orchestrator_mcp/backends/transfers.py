"""Files to and from a backend: the body of an upload, and an output as it streams in."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from orchestrator_mcp.backends import shapes
from orchestrator_mcp.backends.connections import Response
from orchestrator_mcp.backends.transport import foreign_errors_mapped, require_identity, status_error
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import ArtifactError, BackendAmbiguousError

_CHUNK_BYTES: Final = 2**18
_SLOW_START_SECONDS: Final = 60.0
_LEAST_BYTES_PER_SECOND: Final = 1_024


class OutputStream:
    """An output file on its way in.

    Attributes:
        content_length: bytes promised; None if the backend does not say.
        media_type: what the backend calls it; verify before you believe it.

    Args:
        response: the answer to `GET /view`, its body unread.
        backend_id: who sends.
        action: what was asked, for people.
        most_bytes: the largest file taken.
        clock: measures how fast it comes.
    """

    def __init__(self, response: Response, *, backend_id: str, action: str, most_bytes: int, clock: Clock) -> None:
        self._response = response
        self._backend_id = backend_id
        self._action = action
        self._most_bytes = most_bytes
        self._clock = clock
        length = response.headers.get("content-length", "")
        self.content_length = int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else None
        stated = response.headers.get("content-type", "").partition(";")[0].strip().casefold()
        self.media_type = shapes.words(stated, 100) or "application/octet-stream"
        if self.content_length is not None and self.content_length > most_bytes:
            raise self._too_large(f"{self.content_length} bytes")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in order.

        Raises:
            ArtifactError: more than the limit came.
            BackendAmbiguousError: the connection broke, fell silent or crept.
        """
        started, received = self._clock.monotonic(), 0
        with foreign_errors_mapped(self._backend_id, self._action, sent=lambda: True):
            async for chunk in self._response.pieces():
                received += len(chunk)
                if received > self._most_bytes:
                    raise self._too_large(f"more than {self._most_bytes} bytes")
                self._check_speed(received, self._clock.monotonic() - started)
                yield chunk

    def _check_speed(self, received: int, seconds: float) -> None:
        if seconds > _SLOW_START_SECONDS and received < seconds * _LEAST_BYTES_PER_SECOND:
            raise BackendAmbiguousError(
                f"Backend {self._backend_id} sends too slowly ({received} bytes in {seconds:.0f} s): {self._action}.",
                backend_id=self._backend_id,
            )

    def _too_large(self, found: str) -> ArtifactError:
        return ArtifactError(
            f"Backend {self._backend_id}: {self._action} gives {found}, over the limit of {self._most_bytes}.",
            hint="Raise limits.output_bytes if that is right.",
            details={"reason": "too_large"},
        )


def check_view(response: Response, *, backend_id: str, action: str) -> None:
    """Refuse an answer to `GET /view` that is not the file.

    Args:
        response: before its body is read.
        backend_id: who answered.
        action: what was asked, for people.

    Raises:
        ArtifactError: the backend does not have the file, or will not give it.
        BackendError: anything else but 200.
    """
    if response.status in (400, 403, 404):
        raise ArtifactError(
            f"Backend {backend_id} does not give the file it declared: {action} answers {response.status}.",
            hint="Its temp folder is emptied at each start; otherwise somebody deleted the file there.",
            details={"reason": "missing", "status": response.status},
        )
    if response.status != 200:
        raise status_error(response.status, b"", backend_id=backend_id, action=action)
    require_identity(response, backend_id=backend_id, action=action)


class UploadBody:
    """A multipart form with one file, sent as it is read.

    Args:
        name: a safe file name.
        media_type: of the file.
        length: bytes of the file.
        read: gives up to that many bytes, and none at the end.
    """

    def __init__(self, name: str, media_type: str, length: int, read: Callable[[], AsyncIterator[bytes]]) -> None:
        boundary = secrets.token_hex(16)
        self._read = read
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="type"\r\n\r\ninput\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            f"Content-Type: {shapes.words(media_type, 100) or 'application/octet-stream'}\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.size = len(self._head) + length + len(self._tail)
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(self.size),
        }

    @classmethod
    @asynccontextmanager
    async def opened(cls, name: str, content: bytes | Path, media_type: str) -> AsyncIterator[UploadBody]:
        """Make the body; a file stays open meanwhile.

        Args:
            name: a safe file name.
            content: the bytes, or a file.
            media_type: of the file.

        Raises:
            OSError: the file cannot be opened.
        """
        if isinstance(content, bytes):

            async def whole() -> AsyncIterator[bytes]:
                yield content

            yield cls(name, media_type, len(content), whole)
            return
        async with await anyio.open_file(content, "rb") as file:
            length = await file.seek(0, 2)
            await file.seek(0)

            async def pieces() -> AsyncIterator[bytes]:
                while chunk := await file.read(_CHUNK_BYTES):
                    yield chunk

            yield cls(name, media_type, length, pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The whole form, in pieces."""
        yield self._head
        async for piece in self._read():
            yield piece
        yield self._tail


def parse_upload(document: object) -> str:
    """Read the answer to an upload.

    Args:
        document: the parsed JSON.

    Returns:
        The name as a loader's input takes it, with the subfolder.

    Raises:
        ValueError: it names no file.
    """
    said = shapes.record(document)
    name = shapes.filename(said.get("name"))
    subfolder = said.get("subfolder") or ""
    if name is None or (subfolder and shapes.filename(subfolder, 4_096) is None):
        raise ValueError("it names no file")
    return f"{subfolder}/{name}" if subfolder else name
