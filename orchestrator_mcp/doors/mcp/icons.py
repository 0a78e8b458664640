"""The icons of the tools: small PNG files that the server itself serves, because clients take no SVG from a server.

VS Code (1.107) shows PNG, JPEG, GIF and WebP, and only from the address at which it reaches the server.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import anyio.to_thread
from mcp.types import Icon, Tool
from PIL import Image, ImageDraw
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

LONGEST_BASE: Final = 40
"""Bytes of an address; every icon repeats it, and longer ones would not leave the list of tools below its budget."""

_PIXELS: Final = 64
_FINER: Final = 4  # how many times larger it is drawn, for smooth edges
_GROUND: Final = (29, 39, 51)
_PAPER: Final = (244, 241, 234)
_ACCENT: Final = (224, 86, 47)

Point = tuple[float, float]


class _Pen:
    """Draws on a field of 64 by 64."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)

    def box(self, corner: Point, opposite: Point, fill: tuple[int, int, int], *, radius: float = 0) -> None:
        self._draw.rounded_rectangle([_finer(corner), _finer(opposite)], radius * _FINER, fill)

    def disc(self, centre: Point, radius: float, fill: tuple[int, int, int]) -> None:
        self._draw.circle(_finer(centre), radius * _FINER, fill)

    def shape(self, *points: Point, fill: tuple[int, int, int]) -> None:
        self._draw.polygon([_finer(point) for point in points], fill)

    def line(self, *points: Point, fill: tuple[int, int, int] = _PAPER) -> None:
        self._draw.line([_finer(point) for point in points], fill, 5 * _FINER, joint="curve")
        for end in (points[0], points[-1]):
            self.disc(end, 2.5, fill)


def _send(pen: _Pen) -> None:
    """A play button."""
    pen.shape((22, 15), (22, 49), (50, 32), fill=_ACCENT)


def _job(pen: _Pen) -> None:
    """A clock."""
    pen.disc((32, 32), 20, _PAPER)
    pen.disc((32, 32), 15, _GROUND)
    pen.line((32, 23), (32, 32), (39, 36), fill=_ACCENT)


def _farm(pen: _Pen) -> None:
    """Three machines, one at work."""
    for row in range(3):
        pen.box((13, 13 + 14 * row), (51, 23 + 14 * row), _PAPER, radius=3)
        pen.disc((44, 18 + 14 * row), 2.5, _ACCENT if row == 0 else _GROUND)


def _stop(pen: _Pen) -> None:
    """A cross."""
    pen.line((20, 20), (44, 44), fill=_ACCENT)
    pen.line((44, 20), (20, 44), fill=_ACCENT)


def _book(pen: _Pen) -> None:
    """A graph of three nodes."""
    pen.line((22, 20), (34, 20), (34, 44), (22, 44))
    pen.line((34, 32), (44, 32))
    for corner in ((12, 14), (12, 38)):
        pen.box(corner, (corner[0] + 14, corner[1] + 12), _PAPER, radius=3)
    pen.box((40, 25), (54, 39), _ACCENT, radius=3)


def _look(pen: _Pen) -> None:
    """A picture."""
    pen.box((11, 15), (53, 49), _PAPER, radius=4)
    pen.box((15, 19), (49, 45), _GROUND, radius=2)
    pen.disc((40, 26), 4, _ACCENT)
    pen.shape((15, 45), (27, 28), (36, 39), (40, 35), (49, 45), fill=_PAPER)


def _jobs(pen: _Pen) -> None:
    """A list."""
    for row, fill in enumerate((_ACCENT, _PAPER, _PAPER)):
        pen.disc((17, 20 + 12 * row), 3.5, fill)
        pen.line((27, 20 + 12 * row), (48, 20 + 12 * row))


_DRAWN: Final[dict[str, Callable[[_Pen], None]]] = {
    "send": _send,
    "job": _job,
    "farm": _farm,
    "stop": _stop,
    "book": _book,
    "look": _look,
    "jobs": _jobs,
}
_OF_TOOL: Final = {
    "submit_job": "send",
    "job_status": "job",
    "list_backends": "farm",
    "cancel_job": "stop",
    "list_workflows": "book",
    "get_preview": "look",
    "list_jobs": "jobs",
}


def with_icons(tools: Iterable[Tool], base_url: str | None) -> list[Tool]:
    """Give each tool the address of its icon, where the list stays small enough.

    Args:
        tools: as they are listed.
        base_url: what addresses at this server begin with; None where it has none.
    """
    if base_url is None or len(base_url) > LONGEST_BASE:
        return list(tools)
    return [
        tool.model_copy(update={"icons": [Icon(src=f"{base_url}/i/{_OF_TOOL[tool.name]}.png")]})
        if tool.name in _OF_TOOL
        else tool
        for tool in tools
    ]


def icon_route() -> BaseRoute:
    """Where the icons are served; programs fetch them without a token."""
    return Route("/i/{name}.png", _serve, methods=["GET"])


async def _serve(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _DRAWN:
        raise HTTPException(404)
    picture = await anyio.to_thread.run_sync(_png, name)
    headers = {"cache-control": "public, max-age=86400", "x-content-type-options": "nosniff"}
    return Response(picture, headers=headers, media_type="image/png")


@lru_cache
def _png(name: str) -> bytes:
    side = _PIXELS * _FINER
    image = Image.new("RGBA", (side, side))
    pen = _Pen(image)
    pen.box((0, 0), (_PIXELS - 1 / _FINER, _PIXELS - 1 / _FINER), _GROUND, radius=12)
    _DRAWN[name](pen)
    written = io.BytesIO()
    image.resize((_PIXELS, _PIXELS), Image.Resampling.LANCZOS).save(written, "PNG", optimize=True)
    return written.getvalue()


def _finer(point: Point) -> Point:
    return point[0] * _FINER, point[1] * _FINER
