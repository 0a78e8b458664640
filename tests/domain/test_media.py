"""A file that cannot be what its name says is told apart from one that merely has another format."""

from __future__ import annotations

import pytest

from orchestrator_mcp.domain.media import JSON, PNG, TEXT, UNKNOWN, WEBP, ZIP, MediaFormat, belies


@pytest.mark.parametrize(
    ("name", "promised", "found", "wrong"),
    [
        ("a.png", "image", PNG, False),
        ("a.png", "image", WEBP, False),
        ("a.png", "image", TEXT, True),
        ("a.PNG", "image", UNKNOWN, True),
        ("film.mp4", "video", JSON, True),
        ("film.mp4", "video", UNKNOWN, True),
        ("voice.mp3", "audio", UNKNOWN, False),
        ("photo.jxl", "image", UNKNOWN, False),
        ("photo.jxl", "image", TEXT, True),
        ("scene.glb", "model", TEXT, False),
        ("caption.txt", "text", TEXT, False),
        ("frames.zip", "file", ZIP, False),
        ("x", "file", UNKNOWN, False),
    ],
)
def test_text_and_unwritten_bytes_are_no_picture_video_or_sound(
    name: str, promised: str, found: MediaFormat, wrong: bool
) -> None:
    assert belies(name, promised=promised, found=found) is wrong
