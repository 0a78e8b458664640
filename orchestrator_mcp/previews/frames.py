"""The first frame of a video, where a decoder is installed: the extra `video` brings PyAV, which carries FFmpeg.

A file is opened as the format that its content was found to be, and from an open file: a playlist in disguise cannot
have other files or addresses read.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Final

from PIL import Image

from orchestrator_mcp.decoders import MOST_DECODED
from orchestrator_mcp.domain import media

DECODES: Final = find_spec("av") is not None
"""Whether there is a decoder."""

_FORMATS: Final = {
    media.MP4.media_type: "mov",
    media.MOV.media_type: "mov",
    media.WEBM.media_type: "matroska",
    media.MKV.media_type: "matroska",
    media.AVI.media_type: "avi",
}
_MOST_PACKETS: Final = 100  # that are looked into before the first frame has come


def first_frame(path: Path, media_type: str) -> Image.Image | None:
    """Decode the first frame of a video; it may take a second, so ask in a thread.

    Args:
        path: where the file lies.
        media_type: of its content.

    Returns:
        The frame, RGB; None where there is no decoder, or for a file that it cannot read.
    """
    name = _FORMATS.get(media_type)
    if not DECODES or name is None:
        return None
    import av  # takes a tenth of a second and forty megabytes, for those who have videos

    with (
        suppress(av.FFmpegError, OSError, ValueError, LookupError, MemoryError),
        path.open("rb") as file,
        av.open(file, "r", format=name) as container,
    ):
        stream = container.streams.video[0]
        if stream.codec_context is None:  # a kind of video that this FFmpeg does not know
            return None
        stream.codec_context.options = {"max_pixels": str(MOST_DECODED)}
        frames = (frame for packet in islice(container.demux(stream), _MOST_PACKETS) for frame in packet.decode())
        first = next((frame for frame in frames if isinstance(frame, av.VideoFrame)), None)
        return first.to_image() if first is not None else None  # type: ignore[no-untyped-call]
    return None
