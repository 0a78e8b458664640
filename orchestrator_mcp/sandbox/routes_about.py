"""Routes that say what the server is and has."""

from __future__ import annotations

import os
import sys

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from orchestrator_mcp.sandbox.exchange import json_answer, plain, server_of
from orchestrator_mcp.sandbox.options import MODEL_FOLDERS

_MEMORY = 16 * 1024**3
_PAGE = """<!doctype html><title>Sandbox</title>
<h1>Sandbox render server</h1>
<p>This server speaks ComfyUI's protocol and has no models. What it renders are slates, not diffusion pictures.</p>
"""


async def _page(_: Request) -> Response:
    return HTMLResponse(_PAGE)


async def _system_stats(request: Request) -> Response:
    server = server_of(request)
    argv = ["main.py", "--cpu", "--listen", server.host, "--port", str(server.port), "--disable-auto-launch"]
    system = {
        "os": os.name,
        "ram_total": _MEMORY,
        "ram_free": _MEMORY,
        "comfyui_version": server.version_text,
        "required_frontend_version": "0.0.0",
        "installed_templates_version": "0.0.0",
        "required_templates_version": "0.0.0",
        "python_version": sys.version,
        "pytorch_version": "none (sandbox)",
        "embedded_python": False,
        "argv": argv,
    }
    device = {
        "name": "sandbox",
        "type": "cpu",
        "index": None,
        "vram_total": _MEMORY,
        "vram_free": _MEMORY,
        "torch_vram_total": _MEMORY,
        "torch_vram_free": _MEMORY,
    }
    return json_answer({"system": system, "devices": [device]})


async def _features(request: Request) -> Response:
    return json_answer(server_of(request).features)


async def _all_classes(request: Request) -> Response:
    server = server_of(request)
    return json_answer({name: one.described(server.choices) for name, one in server.node_classes.items()})


async def _one_class(request: Request) -> Response:
    server, name = server_of(request), request.path_params["name"]
    if name not in server.node_classes:
        return json_answer({})
    return json_answer({name: server.node_classes[name].described(server.choices)})


async def _model_folders(_: Request) -> Response:
    return json_answer(list(MODEL_FOLDERS))


async def _models_in(request: Request) -> Response:
    folder = request.path_params["folder"]
    if folder not in MODEL_FOLDERS:
        return plain(404)
    return json_answer(server_of(request).options.models_in(folder))


async def _embeddings(request: Request) -> Response:
    names = server_of(request).options.models_in("embeddings")
    return json_answer([os.path.splitext(name)[0] for name in names])


async def _extensions(_: Request) -> Response:
    return json_answer([])


ABOUT_ROUTES = [
    Route("/", _page),
    Route("/system_stats", _system_stats),
    Route("/features", _features),
    Route("/object_info", _all_classes),
    Route("/object_info/{name}", _one_class),
    Route("/models", _model_folders),
    Route("/models/{folder}", _models_in),
    Route("/embeddings", _embeddings),
    Route("/extensions", _extensions),
]
