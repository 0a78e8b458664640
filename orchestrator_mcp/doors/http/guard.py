"""Who may speak to this server at all: checks on the headers, before any route and before any body.

Pure ASGI, for HTTP and WebSocket alike and for the whole application, the MCP routes included. Decisions are made on
the raw headers and on `scope["path"]`, never on a url built from them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator_mcp.domain.access import Caller, KnownToken, bearer_of
from orchestrator_mcp.domain.access import Scope as AccessScope
from orchestrator_mcp.doors.http.answers import error_document, error_response, refuse
from orchestrator_mcp.doors.http.machine import canonical_address, names_of_this_machine
from orchestrator_mcp.doors.http.permissions import needed_scope

SUBPROTOCOL_PREFIX: Final = "bearer."
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9a-fA-F:.]{2,45})\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})))(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header as it came, in order.

    Args:
        scope: an ASGI scope.
        name: the header, in lower case.
    """
    return [value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == name]


def split_host(value: str) -> tuple[str, str | None] | None:
    """Read a `Host` header.

    Args:
        value: the header's value.

    Returns:
        The canonical name or address and the port, if one was given; None when it is not a host at all.
    """
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    return canonical_address(match["v6"] or match["name"]), match["port"]


def same_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` names the very server that the `Host` header names.

    Args:
        origin: for example `http://renders.local:9800`.
        host: for example `renders.local:9800`.
    """
    scheme, separator, rest = origin.partition("://")
    here = split_host(host)
    there = split_host(rest)
    if not separator or here is None or there is None or scheme.casefold() not in _DEFAULT_PORTS:
        return False
    default = _DEFAULT_PORTS[scheme.casefold()]
    return here[0] == there[0] and (here[1] or default) == (there[1] or default)


class HostGuard:
    """Refuse requests that were sent to a name which is not this machine's (DNS rebinding): 421.

    Args:
        app: what is guarded.
        allowed: further names under which requests may come, any port; `public_url`s are taken as well.
        own_names: the names and addresses of this machine; found out when None.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str] = (), *, own_names: Iterable[str] | None = None) -> None:
        self._app = app
        own = names_of_this_machine() if own_names is None else own_names
        self._names = frozenset({canonical_address(name) for name in own} | {_bare_host(name) for name in allowed})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._passes(scope):
            await self._app(scope, receive, send)
            return
        await refuse(
            scope,
            receive,
            send,
            status=421,
            code="unknown_host",
            detail="This server does not answer to the name in the Host header.",
            hint="Use one of this machine's own names or addresses, or add the name to server.allowed_hosts.",
        )

    def _passes(self, scope: Scope) -> bool:
        values = header_values(scope, b"host")
        found = split_host(values[0]) if len(values) == 1 else None
        if found is None:
            return False
        server = scope.get("server") or ("", None)
        return found[0] in self._names or found[0] == canonical_address(str(server[0] or ""))


def _bare_host(name: str) -> str:
    netloc = urlsplit(name).netloc if "://" in name else name
    found = split_host(netloc) or split_host(f"[{netloc}]")
    return found[0] if found else netloc.casefold()


class OriginGuard:
    """Refuse what web pages of other origins send: 403. `Origin: null` is another origin.

    Args:
        app: what is guarded.
        origins: origins that may call from a browser (`server.cors_origins`).
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/").casefold() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = None if scope["type"] == "lifespan" else self._problem(scope)
        if problem is None:
            await self._app(scope, receive, send)
            return
        await refuse(
            scope,
            receive,
            send,
            status=403,
            code="foreign_origin",
            detail=problem,
            hint="If this page may call the orchestrator, add its origin to server.cors_origins.",
        )

    def _problem(self, scope: Scope) -> str | None:
        origins = header_values(scope, b"origin")
        host = "".join(header_values(scope, b"host")[:1])
        if len(origins) > 1:
            return "There is more than one Origin header."
        if origins:
            origin = origins[0].strip()
            if origin.rstrip("/").casefold() in self._origins:
                return None
            if origin.casefold() == "null" or not same_origin(origin, host):
                return f"Web pages of the origin {origin[:200]!r} may not use this server."
        foreign = "cross-site" in (site.strip().casefold() for site in header_values(scope, b"sec-fetch-site"))
        if foreign and scope.get("method") in _CHANGES:
            return "A web page of another site may not change anything here."
        return None


class Cors(CORSMiddleware):
    """Starlette's, but for its words to a preflight that asks for too much: like all errors they are JSON."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        document = error_document(
            f"{bytes(answer.body).decode()}: this server does not take that from pages of other origins.",
            code="preflight_refused",
            hint=f"Methods may be {', '.join(self.allow_methods)}; headers {', '.join(sorted(self.allow_headers))}.",
        )
        own = {"content-length", "content-type"}
        return error_response(
            answer.status_code, document, {name: value for name, value in answer.headers.items() if name not in own}
        )


class TokenGuard:
    """Let in only who may do what the request is for, and say in `scope["state"]["caller"]` who that is.

    A token passes as `Authorization: Bearer`, as the password of `Authorization: Basic` (so that a browser can open
    the documentation) and as the WebSocket subprotocol `bearer.<token>` (browsers cannot set headers there).
    It answers before any byte of a body is read: 401 without a token that is known, 403 with one whose scope does not
    reach (see `permissions`).

    Args:
        app: what is guarded.
        tokens: those that let somebody in. Without any, everybody passes, as `anonymous`, and may do everything.
    """

    def __init__(self, app: ASGIApp, tokens: Iterable[KnownToken] = ()) -> None:
        self._app = app
        self._tokens = tuple(tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        needed = needed_scope(scope.get("method", "GET"), scope["path"])
        caller = self._caller(scope)
        if caller is None and needed is not None:
            await _ask_for_token(scope, receive, send)
        elif caller is not None and needed is not None and not caller.may(needed):
            await _refuse_scope(scope, receive, send, caller, needed)
        else:
            scope.setdefault("state", {})["caller"] = caller
            await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller | None:
        client = scope.get("client")
        address = str(client[0]) if client else "unknown"
        if not self._tokens:
            return Caller(address=address)
        bearer = bearer_of(shown_tokens(scope), self._tokens)
        return Caller(name=bearer.name, scope=bearer.scope, address=address) if bearer is not None else None


async def _ask_for_token(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(
        scope,
        receive,
        send,
        status=401,
        code="unauthorized",
        detail="This server wants a token.",
        hint="Send `Authorization: Bearer <token>`; the server printed where the token lies when it started.",
        headers=[
            (b"www-authenticate", b'Bearer realm="orchestrator"'),
            (b"www-authenticate", b'Basic realm="orchestrator", charset="UTF-8"'),
        ],
    )


async def _refuse_scope(scope: Scope, receive: Receive, send: Send, caller: Caller, needed: AccessScope) -> None:
    challenge = f'Bearer realm="orchestrator", error="insufficient_scope", scope="{needed}"'
    await refuse(
        scope,
        receive,
        send,
        status=403,
        code="insufficient_scope",
        detail=f"This needs the scope {needed}; the token {caller.name!r} has {caller.scope}.",
        hint="Use a token with that scope, or ask the operator for one.",
        headers=[(b"www-authenticate", challenge.encode())],
    )


def shown_tokens(scope: Scope) -> list[bytes]:
    """Every token that a request shows, in whatever of the three ways.

    Args:
        scope: an ASGI scope of type `http` or `websocket`.
    """
    shown: list[bytes] = []
    for value in header_values(scope, b"authorization")[:1]:
        scheme, _, credentials = value.strip().partition(" ")
        if scheme.casefold() == "bearer":
            shown.append(credentials.strip().encode("latin-1"))
        elif scheme.casefold() == "basic":
            shown.extend(_basic_password(credentials.strip()))
    if scope["type"] == "websocket":
        offered = [name for name in scope.get("subprotocols", ()) if name.startswith(SUBPROTOCOL_PREFIX)]
        shown.extend(name.removeprefix(SUBPROTOCOL_PREFIX).encode() for name in offered[:4])
    return shown


def _basic_password(credentials: str) -> list[bytes]:
    try:
        decoded = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return []
    _, separator, password = decoded.partition(b":")
    return [password] if separator else []
