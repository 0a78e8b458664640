"""The first frame of a video, from real films, and from files that only look like one."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from PIL import Image

from orchestrator_mcp.previews.frames import first_frame
from orchestrator_mcp.previews.poster import FRAME_NOTE, Subject, poster
from tests.previews.files import is_like, shown, two_halves

KINDS = {"video/mp4": ("mp4", "mpeg4"), "video/webm": ("webm", "libvpx"), "video/x-msvideo": ("avi", "mpeg4")}


def film(path: Path, media_type: str, size: tuple[int, int] = (320, 160)) -> Path:
    """A film that begins with two halves, and goes on in grey."""
    name, codec = KINDS[media_type]
    with av.open(path, "w", format=name) as container:
        stream = container.add_stream(codec, rate=8)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for picture in (two_halves(size), *(Image.new("RGB", size, "grey") for _ in range(7))):
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("media_type", KINDS)
def test_a_video_is_shown_by_its_first_frame(media_type: str, tmp_path: Path) -> None:
    path = film(tmp_path / "film", media_type)
    subject = Subject(name="film", kind="video", media_type=media_type, size=path.stat().st_size)
    picture = poster(path, subject, longest=200)
    image = shown(picture)
    assert image.size == (200, 100)
    assert is_like(image, (0.2, 0.3), (220, 30, 30)) and is_like(image, (0.8, 0.5), (30, 30, 220))
    assert picture.note == FRAME_NOTE


@pytest.mark.parametrize("media_type", KINDS)
def test_a_torn_video_shows_a_frame_or_none_and_never_crashes(media_type: str, tmp_path: Path) -> None:
    whole = film(tmp_path / "film", media_type).read_bytes()
    torn = tmp_path / "torn"
    found = []
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        torn.write_bytes(whole[:length])
        found.append(first_frame(torn, media_type))
    assert found[0] is None
    assert all(frame is None or frame.size == (320, 160) for frame in found)


def test_a_playlist_that_is_called_a_video_has_no_other_file_read(tmp_path: Path) -> None:
    film(tmp_path / "secret.mp4", "video/mp4")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'secret.mp4'}\n", encoding="utf-8")
    assert first_frame(playlist, "video/mp4") is None
    playlist.write_text(f"ffconcat version 1.0\nfile {tmp_path / 'secret.mp4'}\n", encoding="utf-8")
    assert first_frame(playlist, "video/mp4") is None


def test_a_frame_of_more_pixels_than_are_decoded_elsewhere_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "film", "video/mp4")
    monkeypatch.setattr("orchestrator_mcp.previews.frames.MOST_DECODED", 320 * 160 // 4)
    assert first_frame(path, "video/mp4") is None


def test_what_is_no_video_for_the_decoder_has_no_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "film", "video/mp4")
    assert first_frame(path, "video/x-flv") is None
    assert first_frame(path, "video/webm") is None
