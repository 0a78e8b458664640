"""Finds the workflow that a file was made with."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from orchestrator_mcp.domain.documents import parse_document
from orchestrator_mcp.errors import CallerError
from orchestrator_mcp.workflows.convert.embedded.films import box_texts, ebml_texts
from orchestrator_mcp.workflows.convert.embedded.models import glb_texts, safetensors_texts, svg_texts
from orchestrator_mcp.workflows.convert.embedded.pictures import avif_texts, jpeg_texts, png_texts, webp_texts
from orchestrator_mcp.workflows.convert.embedded.sounds import flac_texts, mp3_texts, ogg_texts
from orchestrator_mcp.workflows.convert.embedded.source import BrokenError, Source, Texts

MAX_TEXT: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 64
_MAX_PROBLEMS: Final = 10
_TEXTS_IN_ALL: Final = 4
"""All texts of one file together may be this many times as long as the largest single one."""
_MAX_SAFETENSORS: Final = 100 * 1024 * 1024
_SCHEMA: Final = frozenset({"prompt", "workflow"})
_COMMENTS: Final = frozenset({"comment", "\xa9cmt", "description", "desc", "ldes"})


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """What a file says about how it was made.

    Attributes:
        prompt: the graph that ran, in API format; preferred.
        workflow: what was on the page, in UI format.
        problems: what is in the file and cannot be read, in words; NaN in a prompt is the usual one.
    """

    prompt: dict[str, Any] | None = None
    workflow: dict[str, Any] | None = None
    problems: tuple[str, ...] = ()


def find_workflow(file: bytes | BinaryIO, *, max_text: int = MAX_TEXT, max_depth: int = MAX_DEPTH) -> Embedded:
    """Read the workflow out of a PNG, WEBP, JPEG, AVIF, MP4, MOV, WEBM, MKV, FLAC, OGG, MP3, GLB, SVG or safetensors.

    A file of any other kind, a torn one and a hostile one have nothing in them; only what is there and cannot be
    read is told.

    Args:
        file: the bytes, or an open seekable file; only the parts that hold texts are read.
        max_text: largest text that is taken, in bytes.
        max_depth: how deep its objects and lists may lie in each other.

    Raises:
        OSError: the file cannot be read.
    """
    source = Source(file, max_text=max_text)
    found = _Found(max_text, max_depth)
    reader = _reader(source)
    if reader is None:
        return Embedded()
    try:
        for name, text in reader(source):
            found.take(name, text)
            if found.complete or found.exhausted:
                break
    except BrokenError as error:
        found.problems.append(f"The file is torn or no such file: {error}.")
    except (struct.error, OverflowError):
        found.problems.append("The file is torn: a part of it has no sensible length.")
    return Embedded(
        prompt=found.texts.get("prompt"),
        workflow=found.texts.get("workflow"),
        problems=tuple(found.problems[:_MAX_PROBLEMS]),
    )


class _Found:
    """What was found so far."""

    def __init__(self, max_text: int, max_depth: int) -> None:
        self.texts: dict[str, dict[str, Any]] = {}
        self.problems: list[str] = []
        self._limits = (max_text, max_depth)
        self._left = _TEXTS_IN_ALL * max_text

    @property
    def complete(self) -> bool:
        """Whether there is nothing more to look for."""
        return len(self.texts) == len(_SCHEMA)

    @property
    def exhausted(self) -> bool:
        """Whether the file has kept the reader busy for long enough."""
        return self._left < 0 or len(self.problems) >= _MAX_PROBLEMS

    def take(self, name: str, text: bytes) -> None:
        """Note one named text, if it is one of those that hold workflows."""
        self._left -= len(text)
        name = name.strip().lower().rsplit(".", 1)[-1]
        if name in _SCHEMA and name not in self.texts:
            document = self._read(name, text)
            if document is not None:
                self.texts[name] = document
        elif name in _COMMENTS and text.lstrip().startswith(b"{"):
            self._take_comment(text)

    def _take_comment(self, text: bytes) -> None:
        """A comment that holds both, as video nodes write it; each may be text once more."""
        document = self._read("comment", text)
        for name in _SCHEMA if document is not None else ():
            held = document.get(name) if document is not None else None
            if isinstance(held, str):
                held = self._read(name, held.encode("utf-8", "replace"))
            if isinstance(held, dict) and name not in self.texts:
                self.texts[name] = held

    def _read(self, name: str, text: bytes) -> dict[str, Any] | None:
        if not text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return None  # other programs write words under these names
        try:
            return parse_document(text.strip(b"\0"), max_bytes=self._limits[0], max_depth=self._limits[1])
        except CallerError as error:
            self.problems.append(f"The {name} in the file cannot be taken: {error}")
            return None


def _reader(source: Source) -> Callable[[Source], Texts] | None:
    head = source.at(0, 64)
    for begin, reader in _BEGINNINGS:
        if head.startswith(begin):
            return reader
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return webp_texts
    if head[4:8] == b"ftyp":
        return avif_texts if head[8:12] in {b"avif", b"avis", b"mif1", b"heic"} else box_texts
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<svg", b"<?xml")):
        return svg_texts
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= min(source.size, _MAX_SAFETENSORS):
        return safetensors_texts
    return None


_BEGINNINGS: Final[tuple[tuple[bytes, Callable[[Source], Texts]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", png_texts),
    (b"\xff\xd8\xff", jpeg_texts),
    (b"\x1aE\xdf\xa3", ebml_texts),
    (b"fLaC", flac_texts),
    (b"OggS", ogg_texts),
    (b"ID3", mp3_texts),
    (b"glTF", glb_texts),
)
