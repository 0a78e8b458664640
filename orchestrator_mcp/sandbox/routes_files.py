"""Routes for files: looking at them and uploading them."""

from __future__ import annotations

import io
import json
import mimetypes
import os
from pathlib import Path

from anyio import to_thread
from PIL import Image, ImageChops
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from orchestrator_mcp.sandbox.exchange import json_answer, plain, server_of
from orchestrator_mcp.sandbox.folders import Folders, OutsideError, inside, split_annotation

_UNSAFE_TYPES = frozenset({"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"})
_YES = ("true", "1")
_HALF = 2
_LOGIN_PAGE = "<!doctype html><title>Sign in</title><h1>Sign in</h1>"


async def _view(request: Request) -> Response:
    server = server_of(request)
    query = request.query_params
    if "filename" not in query:
        return plain(404)
    found = await to_thread.run_sync(_find, server.folders, dict(query))
    if isinstance(found, int):
        return plain(found)
    if server.faults.on("view-404"):
        return plain(404)
    if server.faults.on("html-view"):
        return HTMLResponse(_LOGIN_PAGE)
    if "preview" in query or query.get("channel", "rgba") != "rgba":
        return await to_thread.run_sync(_transcoded, found, query.get("preview"), query.get("channel", "rgba"))
    if server.faults.on("truncated-view") or server.faults.on("wrong-length-view"):
        return await to_thread.run_sync(_half, found, server.faults.on("truncated-view"))
    return _file_answer(request, found, await to_thread.run_sync(os.stat, found))


def _find(folders: Folders, query: dict[str, str]) -> Path | int:
    """Find the file that a query names, or the status that says why not."""
    filename, kind = split_annotation(query["filename"], query.get("type", "output"))
    if not filename or filename[0] == "/" or ".." in filename:
        return 400
    folder = folders.of_kind(kind)
    if folder is None:
        return 400
    try:
        folder = inside(folder, query.get("subfolder", ""))
        path = inside(folder, os.path.basename(filename))
    except OutsideError:
        return 403
    return path if path.is_file() else 404


def _file_answer(request: Request, path: Path, stat: os.stat_result) -> Response:
    etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    headers = {"etag": etag, "content-disposition": f'filename="{path.name}"'}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=_media_type(path), stat_result=stat)


def _media_type(path: Path) -> str:
    guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return "application/octet-stream" if guessed in _UNSAFE_TYPES else guessed


def _half(path: Path, promise_all: bool) -> Response:
    """Answer with the first half of a file, as a broken connection or as a lie."""
    whole = path.read_bytes()
    part = whole[: len(whole) // _HALF]
    headers = {"content-length": str(len(whole) if promise_all else len(part))}
    return StreamingResponse(iter((part,)), headers=headers, media_type=_media_type(path))


def _transcoded(path: Path, preview: str | None, channel: str) -> Response:
    with Image.open(path) as picture:
        shown = _channel(picture, channel)
    if preview is None:
        kind, quality = "png", 90
    else:
        words = preview.split(";")
        kind = words[0] if words[0] in ("webp", "jpeg") else "webp"
        quality = int(words[-1]) if words[-1].isdigit() else 90
    file = io.BytesIO()
    shown.convert("RGB" if kind == "jpeg" else shown.mode).save(file, kind, quality=quality)
    headers = {"content-disposition": f'filename="{path.name}"'}
    return Response(file.getvalue(), headers=headers, media_type=f"image/{kind}")


def _channel(picture: Image.Image, channel: str) -> Image.Image:
    if channel == "rgb":
        return picture.convert("RGB")
    if channel == "a":
        alpha = picture.convert("RGBA").getchannel("A")
        clear = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        clear.putalpha(alpha)
        return clear
    return picture.copy()


async def _upload_image(request: Request) -> Response:
    async with request.form() as form:
        image = form.get("image")
        if not isinstance(image, UploadFile) or not image.filename:
            return plain(400)
        folder = server_of(request).folders.of_kind(str(form.get("type", "input")))
        if folder is None:
            raise ValueError("no such upload type")
        subfolder = _normal(str(form.get("subfolder", "")))
        overwrite = form.get("overwrite") in _YES
        content = await image.read()
        if server_of(request).faults.on("upload-413"):
            return plain(413)
        name = await to_thread.run_sync(_store, folder, subfolder, image.filename, content, overwrite)
    if name is None:
        return plain(400)
    server_of(request).oracle.write("uploaded", name=name, size=len(content))
    return json_answer({"name": name, "subfolder": subfolder, "type": form.get("type", "input")})


def _normal(subfolder: str) -> str:
    return os.path.normpath(subfolder) if subfolder else ""


def _store(folder: Path, subfolder: str, filename: str, content: bytes, overwrite: bool) -> str | None:
    """Write an upload; an equal file is reused, another one of that name stays and gets a neighbour."""
    try:
        target = inside(folder, subfolder)
        path = inside(target, filename)
    except OutsideError:
        return None
    target.mkdir(parents=True, exist_ok=True)
    stem, suffix = os.path.splitext(filename)
    number = 1
    while not overwrite and path.exists():
        if path.read_bytes() == content:
            return path.name
        path = inside(target, f"{stem} ({number}){suffix}")
        number += 1
    path.write_bytes(content)
    return path.name


async def _upload_mask(request: Request) -> Response:
    folders = server_of(request).folders
    async with request.form() as form:
        image = form.get("image")
        reference = json.loads(str(form.get("original_ref")))
        if not isinstance(image, UploadFile) or not image.filename:
            return plain(400)
        kind, subfolder = str(form.get("type", "input")), str(form.get("subfolder", ""))
        folder = folders.of_kind(kind)
        if folder is None:
            raise ValueError("no such upload type")
        found = _find(folders, {key: str(value) for key, value in reference.items()})
        name: str | None = image.filename
        if isinstance(found, Path):
            content = await to_thread.run_sync(_masked, found, await image.read())
            overwrite = form.get("overwrite") in _YES
            name = await to_thread.run_sync(_store, folder, subfolder, image.filename, content, overwrite)
    if name is None or found in (400, 403):
        return plain(400)
    return json_answer({"name": name, "subfolder": subfolder, "type": kind})


def _masked(original: Path, mask: bytes) -> bytes:
    """Give the original picture the transparency of a mask."""
    with Image.open(original) as below, Image.open(io.BytesIO(mask)) as above:
        picture = below.convert("RGBA")
        alpha = above.convert("RGBA").getchannel("A").resize(picture.size)
    picture.putalpha(ImageChops.darker(picture.getchannel("A"), alpha))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=4)
    return file.getvalue()


FILE_ROUTES = [
    Route("/view", _view),
    Route("/upload/image", _upload_image, methods=["POST"]),
    Route("/upload/mask", _upload_mask, methods=["POST"]),
]
