"""A picture decoded to its end, as a backend will: damage inside is found here, before a render begins with it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from orchestrator_mcp.assets.judging import judge_size
from orchestrator_mcp.decoders import DECODERS, DECODING_FAILS, MOST_DECODED
from orchestrator_mcp.errors import ManifestError


def try_decoding(path: Path, extension: str, pixels: int | None, *, at: tuple[str, ...]) -> None:
    """Decode the first frame of a picture, and throw it away. Files of other kinds are left alone.

    Args:
        path: where it lies.
        extension: by its content.
        pixels: how many it has, where its structure said so.
        at: where it is named, for messages.

    Raises:
        ManifestError: `asset_not_decodable` or `asset_too_large`.
    """
    decoder = DECODERS.get(extension)
    if decoder is None or (pixels or 0) > MOST_DECODED:
        return
    try:
        with Image.open(path, formats=[decoder]) as image:
            judge_size(image.size, at=at)
            if image.width * image.height <= MOST_DECODED:
                image.load()
    except ManifestError:
        raise
    except DECODING_FAILS as failure:
        message = f"is a {decoder} that cannot be decoded: it is damaged or of a rare kind"
        raise ManifestError.at(*at, message=message, code="asset_not_decodable") from failure
