"""Input files: what is known of one, what it is called on a backend, and which input takes which kind. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator_mcp.domain.views import ParameterType

TAKES: Final[dict[ParameterType, tuple[str, ...]]] = {
    "image": ("image",),
    "mask": ("image",),
    "video": ("video", "image"),  # an animated GIF or WebP is an image by its kind
    "audio": ("audio", "video"),  # ComfyUI reads the sound of a film
}
"""The kinds of file that an input of each type takes; an input of any other type takes them all."""

KINDS: Final = ("image", "video", "audio")
"""What an input file may be at all."""


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file that renders may begin with; its bytes lie in the artifact store under `sha256`.

    Attributes:
        sha256: of its bytes, in lower-case hex.
        extension: by its content, lower case, without the dot.
        kind: image, video or audio.
        media_type: by its content.
        size: bytes.
    """

    sha256: str
    extension: str
    kind: str
    media_type: str
    size: int

    @property
    def reference(self) -> str:
        """How a manifest names it."""
        return f"asset:{self.sha256}"

    @property
    def name(self) -> str:
        """What it is called on a backend."""
        return input_name(self.sha256, self.extension)


def input_name(sha256: str, extension: str) -> str:
    """The name of an input file in a backend's input folder: nothing in it comes from a caller.

    Args:
        sha256: of its bytes.
        extension: without the dot; may be empty.
    """
    return f"{sha256}.{extension}" if extension else sha256


def fits(kind: str, wanted: str) -> bool:
    """Whether an input takes a file of this kind.

    Args:
        kind: image, video, audio or anything else.
        wanted: the type of the input: image, mask, video, audio, or another for whatever is an input file at all.
    """
    return kind in TAKES.get(wanted, KINDS)  # type: ignore[call-overload]
