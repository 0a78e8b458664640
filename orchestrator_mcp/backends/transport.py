"""HTTP to one backend: limits, time-outs, and the one place where foreign errors become ours."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode

import anyio
import anyio.to_thread
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

from orchestrator_mcp.backends import shapes
from orchestrator_mcp.backends.connections import Connections, Response
from orchestrator_mcp.backends.incoming import TornError
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import AnswerTooLargeError, BackendAmbiguousError, BackendError, BackendRefusedError
from orchestrator_mcp.settings import BackendSettings

T = TypeVar("T")

USER_AGENT: Final = "orchestrator-mcp"
NOBODY_LISTENS: Final = ConnectionRefusedError.__name__
"""The `reason` in the details of an error when the machine answered that no program has that port."""

_INLINE_BYTES: Final = 1_000_000
_NEVER_SENT: Final = (InvalidURI, ConnectionRefusedError, socket.gaierror)
_FOREIGN: Final = (TornError, WebSocketException, OSError)
_TITLE: Final = re.compile(r"<title[^>]{0,200}>(?P<text>[^<]{1,300})", re.IGNORECASE)
_REFUSING_STATUSES: Final = frozenset({401, 403})


class SendWatch:
    """Watches one request go out, so that "nothing was sent" is known and not guessed.

    Args:
        before_send: called after the connection stands and before the first byte; what it raises stops the request.
    """

    def __init__(self, before_send: Callable[[], None] | None = None) -> None:
        self.sent = False
        self._before_send = before_send

    def leave(self) -> None:
        """The connection stands, and the first byte goes next."""
        if self._before_send is not None:
            self._before_send()
        self.sent = True


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A backend's whole answer to one request."""

    backend_id: str
    action: str
    status: int
    content: bytes = field(repr=False)

    def require_success(self) -> Self:
        """Give the answer back if its status is 200.

        Raises:
            BackendRefusedError: a proxy before the backend wants credentials.
            BackendAmbiguousError: any other status.
        """
        if self.status != 200:
            raise status_error(self.status, self.content, backend_id=self.backend_id, action=self.action)
        return self

    async def read(self, parse: Callable[[object], T]) -> T:
        """Parse the answer's JSON; large answers in a thread.

        Args:
            parse: from the JSON to a value; a ValueError means that it is not what was asked for.

        Raises:
            BackendAmbiguousError: it cannot be read.
        """
        return await self.decode(lambda content: parse(shapes.parse_json(content)))

    async def decode(self, work: Callable[[bytes], T], limiter: anyio.CapacityLimiter | None = None) -> T:
        """Make something of the answer's bytes; of many in a thread.

        Args:
            work: from the bytes to a value; a ValueError means that they are not what was asked for.
            limiter: how many may be at it in threads; as many as there are threads unless given.

        Raises:
            BackendAmbiguousError: it cannot be read.
        """
        try:
            if len(self.content) > _INLINE_BYTES:
                return await anyio.to_thread.run_sync(work, self.content, limiter=limiter)
            return work(self.content)
        except ValueError as error:
            raise BackendAmbiguousError(
                f"Backend {self.backend_id} answers {self.action} with something that cannot be read: "
                f"{shapes.words(str(error), 200)}.",
                backend_id=self.backend_id,
                hint="Check that host and port belong to a ComfyUI server and not to another program.",
            ) from error


def backend_error(error: Exception, *, backend_id: str, action: str, sent: bool) -> BackendError:
    """Our word for a foreign error.

    Args:
        error: what our connections, websockets or the system raised.
        backend_id: whom it was about.
        action: what was tried, for people.
        sent: whether a byte of the request may have left.
    """
    if isinstance(error, InvalidStatus) and error.response.status_code in _REFUSING_STATUSES:
        return status_error(error.response.status_code, b"", backend_id=backend_id, action=action)
    timed_out = isinstance(error, TimeoutError)
    reason = shapes.words(str(error), 300).rstrip(".") or ("it took too long" if timed_out else type(error).__name__)
    details = {
        "reason": NOBODY_LISTENS if isinstance(error, OSError) and _nobody_listens(error) else type(error).__name__
    }
    if not sent or isinstance(error, _NEVER_SENT):
        return BackendRefusedError(
            f"Backend {backend_id} cannot be reached for {action}: {reason}.",
            backend_id=backend_id,
            hint="Check that ComfyUI runs there and that host and port are right.",
            details=details,
        )
    return BackendAmbiguousError(
        f"Backend {backend_id} broke off {action}: {reason}.", backend_id=backend_id, details=details
    )


def _nobody_listens(error: BaseException) -> bool:
    """Whether the connection was refused at each address; what is slow, unreachable or unknown was not."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_nobody_listens, error.exceptions))
    if isinstance(error, ConnectionRefusedError):
        return True
    behind = error.__cause__ or error.__context__
    return behind is not None and _nobody_listens(behind)


def status_error(status: int, content: bytes, *, backend_id: str, action: str) -> BackendError:
    """The error for an answer with a status that was not hoped for.

    Args:
        status: the HTTP status.
        content: the beginning of the body.
        backend_id: who answered.
        action: what was asked, for people.
    """
    said = _gist(content[:2_000].decode("utf-8", "replace"))
    details = {"reason": f"status {status}", "status": status}
    if status in _REFUSING_STATUSES:
        return BackendRefusedError(
            f"Backend {backend_id} answers {action} with {status}: a proxy before it refused the request.",
            backend_id=backend_id,
            hint="Set the `headers` it wants (for example Authorization) for this backend in config.yaml.",
            details={**details, "reason": "proxy refused"},
        )
    words = "a redirect, and redirects are not followed" if 300 <= status < 400 else said or "no explanation"
    return BackendAmbiguousError(
        f"Backend {backend_id} answers {action} with {status}: {words}.", backend_id=backend_id, details=details
    )


def _gist(body: str) -> str:
    """The first words of an error's body; of a web page only its title."""
    if not body.lstrip().startswith("<"):
        return shapes.words(body, 300).rstrip(".")
    title = _TITLE.search(body)
    return shapes.words(title["text"], 300) if title else "a web page"


@contextmanager
def foreign_errors_mapped(backend_id: str, action: str, *, sent: Callable[[], bool]) -> Iterator[None]:
    """Within it, whatever connections, websockets and sockets raise becomes a `BackendError`.

    Args:
        backend_id: whom the work is about.
        action: what is tried, for people.
        sent: whether a byte may have left; asked when something goes wrong.
    """
    try:
        yield
    except _FOREIGN as error:
        raise backend_error(error, backend_id=backend_id, action=action, sent=sent()) from error


class Transport:
    """HTTP to one backend: no proxies from the environment, no redirects, no compression.

    Args:
        backend: where it is.
        connect_timeout: seconds to connect, and to wait for a free connection.
        json_bytes: the largest answer that is read whole.
        clock: tells for how long a connection was not needed.
    """

    def __init__(self, backend: BackendSettings, *, connect_timeout: float, json_bytes: int, clock: Clock) -> None:
        self.backend_id = backend.id
        self._json_bytes = json_bytes
        self._connections = Connections(
            backend.host,
            backend.port,
            tls=ssl.create_default_context() if backend.scheme == "https" else None,
            patience=connect_timeout,
            clock=clock,
        )
        always = {
            "Host": backend.url.partition("://")[2],
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        }
        chosen = {name.lower(): (name, text) for name, text in (always | secret_headers(backend)).items()}
        self._headers = _lines(dict(chosen.values()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        within: float,
        json: bytes | None = None,
        content: AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        before_send: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one request and read the whole answer, whatever its status.

        Args:
            method: `GET` or `POST`.
            path: the path, quoted.
            within: seconds for all of it.
            json: a JSON body.
            content: any other body; give its headers too, with its length.
            headers: headers for this request.
            before_send: see `SendWatch`.

        Raises:
            BackendRefusedError: no byte was sent.
            BackendAmbiguousError: bytes were sent, and no whole answer came back.
        """
        action = f"{method} {path}"
        watch = SendWatch(before_send)
        own = dict(headers or {})
        if json is not None:
            own |= {"Content-Type": "application/json", "Content-Length": str(len(json))}
        request = self._head(method, path, own) + (json or b"")
        with foreign_errors_mapped(self.backend_id, action, sent=lambda: watch.sent), anyio.fail_after(within):
            async with self._connections.answered(request, content, leaving=watch.leave) as response:
                body = await self._read_whole(response, action)
        return Answer(backend_id=self.backend_id, action=action, status=response.status, content=body)

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str], idle: float, watch: SendWatch, method: str = "GET"
    ) -> AsyncIterator[Response]:
        """Ask for something large; its body is read by the caller.

        Args:
            path: the path.
            params: the query.
            idle: seconds that may pass without a byte.
            watch: learns whether the request has left.
            method: `GET`, or `HEAD`.
        """
        request = self._head(method, f"{path}?{urlencode(params, quote_via=quote)}")
        async with self._connections.answered(request, idle=idle, leaving=watch.leave) as response:
            yield response

    def _head(self, method: str, target: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
        return f"{method} {target} HTTP/1.1\r\n".encode("ascii") + self._headers + _lines(headers) + b"\r\n"

    async def _read_whole(self, response: Response, action: str) -> bytes:
        require_identity(response, backend_id=self.backend_id, action=action)
        body = bytearray()
        async for piece in response.pieces():
            body += piece
            if len(body) > self._json_bytes:
                raise AnswerTooLargeError(
                    f"Backend {self.backend_id} answers {action} with more than {self._json_bytes} bytes.",
                    backend_id=self.backend_id,
                    hint="Raise limits.backend_json_bytes if that is right.",
                )
        return bytes(body)


def require_identity(response: Response, *, backend_id: str, action: str) -> None:
    """Refuse a compressed answer: none was asked for, and a small one may unpack to any size.

    Args:
        response: before its body is read.
        backend_id: who answered.
        action: what was asked, for people.

    Raises:
        BackendAmbiguousError: it is compressed.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().casefold()
    if encoding not in ("", "identity"):
        raise BackendAmbiguousError(
            f"Backend {backend_id} answers {action} compressed ({shapes.words(encoding, 40)}), unasked.",
            backend_id=backend_id,
            hint="Switch compression off in the proxy before this backend.",
        )


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii")


def secret_headers(backend: BackendSettings) -> dict[str, str]:
    """The configured headers in the clear, for the wire only.

    Args:
        backend: whose.
    """
    return {name: value.get_secret_value() for name, value in backend.headers.items()}
