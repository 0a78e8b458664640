"""Swagger UI and ReDoc from installed files, and the OpenAPI document that they show. Nothing comes from a network.

A browser that is given the bare address is shown them too; a program is told that there is nothing.
"""

from __future__ import annotations

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from orchestrator_mcp.doors.http.openapi import openapi_document

_ASSETS: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "redoc.standalone.js": "text/javascript; charset=utf-8",
}
_LOGO: Final = (b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"data:,")
"""The one thing that ReDoc wants from a network, and what it leaves away in its place."""
_SECURITY: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/svg+xml" href="/docs/assets/icon.svg">
{head}
</head>
<body style="margin: 0">
<div id="page"></div>
<script src="/docs/assets/{library}"></script>
<script src="/docs/assets/{start}"></script>
</body>
</html>
"""
_SWAGGER_START: Final = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null
});
"""
_REDOC_START: Final = """Redoc.init("/openapi.json", { hideDownloadButton: false }, document.getElementById("page"));
"""
_ICON: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="6" fill="#1d2733"/>
<path d="M5 12h22v13a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2z" fill="#f4f1ea"/>
<path d="M5 11l21-6 1 4-21 6z" fill="#e0562f"/>
</svg>
"""
_WRITTEN_HERE: Final = {
    "swagger-start.js": (_SWAGGER_START, "text/javascript; charset=utf-8"),
    "redoc-start.js": (_REDOC_START, "text/javascript; charset=utf-8"),
    "icon.svg": (_ICON, "image/svg+xml"),
}


def page_routes(version: str) -> list[BaseRoute]:
    """`/docs`, `/redoc`, `/openapi.json` and the files they need; and `/`, which leads there.

    Args:
        version: the product's version.
    """
    document = json.dumps(openapi_document(version), ensure_ascii=False).encode()
    swagger = _PAGE.format(
        title="Orchestrator API",
        head='<link rel="stylesheet" href="/docs/assets/swagger-ui.css">',
        library="swagger-ui-bundle.js",
        start="swagger-start.js",
    )
    redoc = _PAGE.format(
        title="Orchestrator API reference", head="", library="redoc.standalone.js", start="redoc-start.js"
    )
    return [
        Route("/", _front),
        *(_written("/openapi.json", document, "application/json"),),
        *(_written(path, swagger, "text/html; charset=utf-8") for path in ("/docs", "/docs/")),
        *(_written(path, redoc, "text/html; charset=utf-8") for path in ("/redoc", "/redoc/")),
        _written("/favicon.ico", _ICON, "image/svg+xml"),
        Route("/docs/assets/{name}", _asset),
    ]


def asset_folder() -> Path:
    """Where the package `fastapi-offline` keeps its files; it is located, not imported, since that loads FastAPI.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = find_spec("fastapi_offline")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("The package fastapi-offline is not installed.")
    return Path(found.submodule_search_locations[0]) / "static"


def _written(path: str, content: str | bytes, media_type: str) -> Route:
    return Route(path, partial(_give, content=content, media_type=media_type))


async def _give(request: Request, *, content: str | bytes, media_type: str) -> Response:
    return Response(content, headers=_SECURITY, media_type=media_type)


async def _front(request: Request) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(404)
    return RedirectResponse("/docs", headers={"vary": "accept"})


async def _asset(request: Request) -> Response:
    name = str(request.path_params["name"])
    if name in _WRITTEN_HERE:
        content, media_type = _WRITTEN_HERE[name]
        return Response(content, headers=_SECURITY, media_type=media_type)
    if name not in _ASSETS:
        raise HTTPException(404)
    script = await anyio.to_thread.run_sync(_installed, name)
    return Response(script, headers={**_SECURITY, "cache-control": "private, max-age=86400"}, media_type=_ASSETS[name])


def _installed(name: str) -> bytes:
    return (asset_folder() / name).read_bytes().replace(*_LOGO)
