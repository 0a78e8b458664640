"""What kinds of files there are: media type, kind and extension, and how a file's first bytes tell it.

A file is what its bytes say. Its name only decides where the bytes allow several answers (every kind of text).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class MediaFormat:
    """One format that outputs come in.

    Attributes:
        media_type: as HTTP names it.
        kind: image, video, audio, text, model or file.
        extension: what a file of it is called, without the dot.
    """

    media_type: str
    kind: str
    extension: str


def _format(media_type: str, kind: str, extension: str) -> MediaFormat:
    return MediaFormat(media_type=media_type, kind=kind, extension=extension)


PNG: Final = _format("image/png", "image", "png")
JPEG: Final = _format("image/jpeg", "image", "jpg")
GIF: Final = _format("image/gif", "image", "gif")
WEBP: Final = _format("image/webp", "image", "webp")
AVIF: Final = _format("image/avif", "image", "avif")
HEIC: Final = _format("image/heic", "image", "heic")
BMP: Final = _format("image/bmp", "image", "bmp")
TIFF: Final = _format("image/tiff", "image", "tif")
EXR: Final = _format("image/x-exr", "image", "exr")
HDR: Final = _format("image/vnd.radiance", "image", "hdr")
PSD: Final = _format("image/vnd.adobe.photoshop", "image", "psd")
SVG: Final = _format("image/svg+xml", "image", "svg")
MP4: Final = _format("video/mp4", "video", "mp4")
MOV: Final = _format("video/quicktime", "video", "mov")
WEBM: Final = _format("video/webm", "video", "webm")
MKV: Final = _format("video/x-matroska", "video", "mkv")
AVI: Final = _format("video/x-msvideo", "video", "avi")
WAV: Final = _format("audio/wav", "audio", "wav")
FLAC: Final = _format("audio/flac", "audio", "flac")
OGG: Final = _format("audio/ogg", "audio", "ogg")
OPUS: Final = _format("audio/ogg", "audio", "opus")
MP3: Final = _format("audio/mpeg", "audio", "mp3")
M4A: Final = _format("audio/mp4", "audio", "m4a")
GLB: Final = _format("model/gltf-binary", "model", "glb")
JSON: Final = _format("application/json", "text", "json")
TEXT: Final = _format("text/plain", "text", "txt")
ZIP: Final = _format("application/zip", "file", "zip")
UNKNOWN: Final = _format("application/octet-stream", "file", "bin")

TEXT_FORMATS: Final[dict[str, MediaFormat]] = {
    "json": JSON,
    "svg": SVG,
    "csv": _format("text/csv", "text", "csv"),
    "md": _format("text/markdown", "text", "md"),
    "srt": _format("text/plain", "text", "srt"),
    "vtt": _format("text/vtt", "text", "vtt"),
    "obj": _format("model/obj", "model", "obj"),
}
"""Text files that are told apart by name only; all others are plain text."""

OPAQUE_EXTENSIONS: Final = frozenset({"latent", "safetensors", "npy", "npz", "ply", "spz", "fbx", "stl", "ksplat"})
"""Extensions that a file of unknown content may keep: what no system runs or shows by double-click."""

SIGNED_EXTENSIONS: Final = frozenset({"png", "apng", "jpg", "jpeg", "gif", "webp", "mp4", "webm", "mkv", "flac"})
"""Extensions of formats that are always known by their first bytes."""

INLINE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4", "video/webm"})
"""What a browser may show in place; all else is served as attachment."""

MOST_PIXELS_A_SIDE: Final = 16_384
"""Larger images are kept and served, never decoded here."""

_HEADS: Final[tuple[tuple[int, bytes, MediaFormat], ...]] = (
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"GIF87a", GIF),
    (0, b"GIF89a", GIF),
    (0, b"II*\x00", TIFF),
    (0, b"MM\x00*", TIFF),
    (0, b"v/1\x01", EXR),
    (0, b"#?RADIANCE", HDR),
    (0, b"#?RGBE", HDR),
    (0, b"8BPS\x00", PSD),
    (0, b"fLaC", FLAC),
    (0, b"ID3", MP3),
    (0, b"glTF", GLB),
    (0, b"PK\x03\x04", ZIP),
)
_RIFF: Final = {b"WEBP": WEBP, b"WAVE": WAV, b"AVI ": AVI}
_BRANDS: Final = {
    b"qt  ": MOV,
    b"M4A ": M4A,
    b"M4B ": M4A,
    b"avif": AVIF,
    b"avis": AVIF,
    b"heic": HEIC,
    b"heix": HEIC,
    b"mif1": HEIC,
}
_QUICKTIME_STARTS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def recognise(head: bytes) -> MediaFormat | None:
    """The binary format that a file's beginning announces, or None: it may be text, or anything.

    Args:
        head: its first bytes; 4,096 are enough.
    """
    for offset, magic, found in _HEADS:
        if head[offset : offset + len(magic)] == magic:
            return found
    return _container(head) or _stream(head)


def _container(head: bytes) -> MediaFormat | None:
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], MP4)
    if head[4:8] in _QUICKTIME_STARTS and head[:2] == b"\x00\x00":
        return MOV
    if head[:4] == b"\x1aE\xdf\xa3":
        return WEBM if b"webm" in head[:64] else MKV
    return None


def _stream(head: bytes) -> MediaFormat | None:
    if head[:4] == b"OggS":
        return OPUS if b"OpusHead" in head[:64] else OGG
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[2] >> 4 not in (0, 15):
        return MP3
    if head[:2] == b"BM" and head[6:10] == b"\x00\x00\x00\x00":
        return BMP
    return None


def belies(name: str, *, promised: str, found: MediaFormat) -> bool:
    """Whether a file cannot be what its name says: a page of a proxy, or bytes that were never written.

    A picture under the name of another kind of picture is none: what counts is its content.

    Args:
        name: as its maker called it.
        promised: the kind that the name promises.
        found: by its content.
    """
    if promised not in ("image", "video", "audio"):
        return False
    return found.kind == "text" or (found.media_type == UNKNOWN.media_type and extension_of(name) in SIGNED_EXTENSIONS)


def extension_of(name: str) -> str:
    """The extension that a name ends with, lower case and without the dot; empty when it has none or an odd one."""
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot and extension.isascii() and extension.isalnum() and len(extension) <= 12 else ""
