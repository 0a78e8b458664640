"""Whether a whole file may be an input. Pure: decoding, where it is tried, is somebody else's."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.assets import KINDS, fits
from orchestrator_mcp.domain.media import MOST_PIXELS_A_SIDE
from orchestrator_mcp.errors import ManifestError

MOST_PIXELS: Final = 178_956_970
"""Pillow, and so ComfyUI, refuses to open a larger picture (twice `Image.MAX_IMAGE_PIXELS`)."""

_NEEDED: Final = {"image": "a picture", "mask": "a picture", "video": "a video", "audio": "a sound"}
_CALLED: Final = {"image": "a picture", "video": "a video", "audio": "a sound", "text": "a text"}


def judge(kind: str, media_type: str, size: tuple[int, int] | None, *, wanted: str | None, at: tuple[str, ...]) -> None:
    """Refuse what no render can begin with.

    Args:
        kind: of the file, by its content.
        media_type: of the file, by its content.
        size: pixels, where its header says so.
        wanted: the type of the input that it is for; None when it is not known yet.
        at: where the file is named, for messages.

    Raises:
        ManifestError: `asset_not_decodable`, `asset_wrong_kind` or `asset_too_large`.
    """
    if kind not in KINDS:
        message = f"is {_CALLED.get(kind, 'a file')} ({media_type}) by its content; a picture, video or sound is needed"
        raise ManifestError.at(*at, message=message, code="asset_not_decodable")
    if wanted is not None and not fits(kind, wanted):
        message = f"is {_CALLED[kind]} ({media_type}) by its content; {_NEEDED.get(wanted, wanted)} is needed"
        raise ManifestError.at(*at, message=message, code="asset_wrong_kind")
    if size is not None:
        judge_size(size, at=at)


def judge_size(size: tuple[int, int], *, at: tuple[str, ...]) -> None:
    """Refuse a picture of more pixels than are decoded anywhere.

    Args:
        size: width and height.
        at: where the file is named, for messages.

    Raises:
        ManifestError: `asset_not_decodable` or `asset_too_large`.
    """
    width, height = size
    if min(size) < 1:
        raise ManifestError.at(*at, message=f"has {width} × {height} pixels", code="asset_not_decodable")
    if max(size) > MOST_PIXELS_A_SIDE or width * height > MOST_PIXELS:
        allowed = f"at most {MOST_PIXELS_A_SIDE:,} a side and {MOST_PIXELS:,} in all are taken"
        message = f"has {width:,} × {height:,} pixels; {allowed}"
        raise ManifestError.at(*at, message=message, code="asset_too_large", hint="Make it smaller.")
