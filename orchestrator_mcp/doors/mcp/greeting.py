"""The first words to a client, which need nothing of the farm: who answers, what it can do, how it is used.

Hosts give a server that they start some seconds to say this. So nothing heavy is imported here: a process that has just
been started says it while the rest is still being loaded. That the server itself says the same is held by a test.
"""

from __future__ import annotations

from typing import Any, Final

from mcp_types import (
    CompletionsCapability,
    DiscoverResult,
    Implementation,
    InitializeRequestParams,
    InitializeResult,
    PromptsCapability,
    ResourcesCapability,
    ServerCapabilities,
    ToolsCapability,
)
from mcp_types.jsonrpc import JSONRPCRequest, JSONRPCResponse
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from orchestrator_mcp import __version__
from orchestrator_mcp.doors.mcp import manual
from orchestrator_mcp.doors.mcp.lists import CACHED, UNCHANGING, list_of

TASKS: Final = "io.modelcontextprotocol/tasks"
_PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
_ENVELOPE: Final = frozenset(
    {_PROTOCOL_VERSION, "io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/clientCapabilities"}
)


def answer_to(request: JSONRPCRequest) -> JSONRPCResponse | None:
    """What a server would answer that is ready, to a request that asks for no more than a greeting.

    Args:
        request: of a client.

    Returns:
        The answer; None to every other request, and to a greeting that is not understood.
    """
    match request.method:
        case "initialize":
            return _initialized(request)
        case "server/discover" if is_modern_discover(request):
            return discovered(request)
        case "ping":
            return JSONRPCResponse(jsonrpc="2.0", id=request.id, result={})
        case _:
            return None


def list_to(request: JSONRPCRequest, *, greeted: bool) -> JSONRPCResponse | None:
    """What a server would answer that is ready, to a request for a list that never changes.

    Args:
        request: of a client.
        greeted: whether it has shaken hands in the older way.

    Returns:
        The answer; None to every other request, and to one for which an older client has not greeted first.
    """
    if request.method not in UNCHANGING or (request.params or {}).get("cursor") is not None:
        return None
    meta = _meta_of(request)
    modern = meta.get(_PROTOCOL_VERSION) in MODERN_PROTOCOL_VERSIONS
    if not (meta.keys() >= _ENVELOPE if modern else greeted):
        return None  # the server says what is missing
    result = {**list_of(request.method), **({**CACHED, **_signed()} if modern else {})}
    return JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result)


def is_modern_discover(request: JSONRPCRequest) -> bool:
    """Whether this asks, in a revision that knows the question, which revisions are spoken here."""
    version = _meta_of(request).get(_PROTOCOL_VERSION)
    return request.method == "server/discover" and version in MODERN_PROTOCOL_VERSIONS


def discovered(request: JSONRPCRequest) -> JSONRPCResponse:
    """The answer to `server/discover`.

    Args:
        request: that asks it.
    """
    found = DiscoverResult(
        supported_versions=list(MODERN_PROTOCOL_VERSIONS),
        capabilities=_capabilities(modern=True),
        instructions=manual.INSTRUCTIONS,
    )
    return JSONRPCResponse(jsonrpc="2.0", id=request.id, result={**_on_the_wire(found), **_signed()})


def _initialized(request: JSONRPCRequest) -> JSONRPCResponse | None:
    try:
        asked = InitializeRequestParams.model_validate(request.params or {}, by_name=False).protocol_version
    except ValidationError:
        return None  # the server says what is wrong with it
    result = InitializeResult(
        protocol_version=asked if asked in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION,
        capabilities=_capabilities(modern=False),
        server_info=_ourselves(),
        instructions=manual.INSTRUCTIONS,
    )
    return JSONRPCResponse(jsonrpc="2.0", id=request.id, result=_on_the_wire(result))


def _meta_of(request: JSONRPCRequest) -> dict[str, Any]:
    meta = (request.params or {}).get("_meta")
    return meta if isinstance(meta, dict) else {}


def _signed() -> dict[str, Any]:
    """What the 2026 revision adds to every answer."""
    return {"_meta": {_SERVER_INFO: _on_the_wire(_ourselves())}}


def _ourselves() -> Implementation:
    return Implementation(name=manual.NAME, title=manual.TITLE, version=__version__, icons=[manual.ICON])


def _capabilities(*, modern: bool) -> ServerCapabilities:
    """As the SDK derives them: older revisions know no extensions, and have no stream for changes of lists."""
    return ServerCapabilities(
        completions=CompletionsCapability(),
        prompts=PromptsCapability(list_changed=modern),
        resources=ResourcesCapability(subscribe=True, list_changed=modern),
        tools=ToolsCapability(list_changed=modern),
        extensions={TASKS: {}} if modern else None,
    )


def _on_the_wire(told: BaseModel) -> dict[str, Any]:
    return told.model_dump(by_alias=True, mode="json", exclude_none=True)
