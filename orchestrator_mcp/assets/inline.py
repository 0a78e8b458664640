"""A small file that stands in the manifest itself, as `{"base64": "…"}`. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from orchestrator_mcp.errors import ManifestError

MOST_INLINE: Final = 1 << 20
"""Bytes that a file in a manifest may have; larger ones are uploaded."""

KEYS: Final = frozenset({"base64", "name", "media_type"})
_DATA_URL: Final = ";base64,"


def is_inline(value: object) -> bool:
    """Whether a value is a file in itself."""
    return isinstance(value, dict) and "base64" in value


def inline_content(value: object, *, at: tuple[str, ...]) -> bytes:
    """The bytes of a file that stands in a manifest.

    Args:
        value: `{"base64": text}`; a data URL is taken too. `name` and `media_type` are allowed beside it and tell
            nothing: a file is what its bytes say.
        at: where it stands, for messages.

    Raises:
        ManifestError: it is no base64, or too large (`asset_too_large`).
    """
    text = value.get("base64") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(text, str) or not value.keys() <= KEYS:
        message = 'a file in a manifest is {"base64": text}, with nothing beside it but name and media_type'
        raise ManifestError.at(*at, message=message, code="asset_not_decodable")
    _, found, _ = text[:200].partition(_DATA_URL)
    start = text.index(_DATA_URL) + len(_DATA_URL) if found and text.startswith("data:") else 0
    if (len(text) - start) * 3 // 4 > MOST_INLINE + 3:
        raise _too_large(at)
    try:
        content = base64.b64decode(text[start:], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ManifestError.at(*at, message=f"is no base64: {error}", code="asset_not_decodable") from error
    if len(content) > MOST_INLINE:
        raise _too_large(at)
    if not content:
        raise ManifestError.at(*at, message="is an empty file", code="asset_not_decodable")
    return content


def _too_large(at: tuple[str, ...]) -> ManifestError:
    return ManifestError.at(
        *at,
        message=f"has more than the {MOST_INLINE:,} bytes that a file in a manifest may have",
        code="asset_too_large",
        hint="Upload it first (POST /api/assets, or `orchestrator-mcp submit --input name=FILE`) and give its name.",
    )
