"""Cards for what cannot be shown, and what the heads of videos say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from orchestrator_mcp.previews.containers import Film, film, film_of
from orchestrator_mcp.previews.poster import Subject, facts_of, poster, spelled_size, spelled_time
from tests.previews.files import box, element, shown


def mp4(*, seconds: float = 4.0, size: tuple[int, int] = (1280, 720), version: int = 0) -> bytes:
    scale = 1000
    times = struct.pack(">QQIQ" if version else ">IIII", 0, 0, scale, round(seconds * scale))
    movie = box(b"mvhd", bytes([version, 0, 0, 0]) + times + bytes(80))
    track = box(b"tkhd", bytes(76) + struct.pack(">II", size[0] << 16, size[1] << 16))
    sound = box(b"trak", box(b"tkhd", bytes(84)))
    index = box(b"moov", movie + box(b"trak", track) + sound)
    return box(b"ftyp", b"isom\x00\x00\x02\x00") + box(b"mdat", b"x" * 99) + index


def webm(*, seconds: float = 2.5, size: tuple[int, int] = (640, 360)) -> bytes:
    head = element(
        b"\x15\x49\xa9\x66",
        element(b"\x2a\xd7\xb1", (1_000_000).to_bytes(3)) + element(b"\x44\x89", struct.pack(">d", seconds * 1000)),
    )
    video = element(b"\xe0", element(b"\xb0", size[0].to_bytes(2)) + element(b"\xba", size[1].to_bytes(2)))
    tracks = element(b"\x16\x54\xae\x6b", element(b"\xae", video))
    segment = b"\x18\x53\x80\x67" + b"\x01\xff\xff\xff\xff\xff\xff\xff" + head + tracks
    return element(b"\x1a\x45\xdf\xa3", b"\x42\x82\x84webm") + segment


def avi() -> bytes:
    head = struct.pack("<10I", 40_000, 0, 0, 0, 50, 0, 1, 0, 320, 240)
    return (
        b"RIFF"
        + struct.pack("<I", 200)
        + b"AVI LIST"
        + struct.pack("<I", 100)
        + b"hdrlavih"
        + struct.pack("<I", 56)
        + head
        + bytes(80)
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (mp4(), Film(seconds=4.0, width=1280, height=720)),
        (mp4(version=1, seconds=3700), Film(seconds=3700.0, width=1280, height=720)),
        (mp4(seconds=0), Film(width=1280, height=720)),
        (webm(), Film(seconds=2.5, width=640, height=360)),
        (avi(), Film(seconds=2.0, width=320, height=240)),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), Film()),
        (b"", Film()),
    ],
)
def test_the_head_of_a_video_tells_its_length_and_size(content: bytes, expected: Film, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    assert film_of(content) == film(path) == expected


@pytest.mark.parametrize("whole", [mp4(), mp4(version=1), webm(), avi()])
def test_a_damaged_head_ends_the_look_and_never_crashes(whole: bytes) -> None:
    for at in range(len(whole)):
        film_of(whole[:at])
        film_of(whole[:at] + b"\xff" + whole[at + 1 :])
        film_of(whole[:at] + b"\x00" + whole[at + 1 :])


def test_boxes_that_lead_nowhere_are_left() -> None:
    endless = box(b"ftyp", b"isom") + b"\x00\x00\x00\x08free" * 50_000
    assert film_of(endless) == Film()
    assert film_of(box(b"ftyp") + struct.pack(">I", 2**32 - 1) + b"moov") == Film()


@pytest.mark.parametrize("kind", ["video", "audio", "text", "model", "image", "file"])
def test_a_card_says_what_the_file_is_and_why_it_is_not_shown(tmp_path: Path, kind: str) -> None:
    picture = poster(tmp_path / "gone", Subject(name="shot_00001_.bin", kind=kind, media_type="a/b", size=1234))
    assert shown(picture).size == (768, 432)
    assert picture.note.endswith((".", "it."))


def test_a_video_card_tells_what_its_container_tells(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(mp4(seconds=65))
    subject = Subject(name="a.mp4", kind="video", media_type="video/mp4", size=1_300_000)
    assert facts_of(path, subject) == "video/mp4, 1280 x 720, 1:05 min, 1.3 MB"
    assert poster(path, subject).data != poster(tmp_path / "gone", subject).data


@pytest.mark.parametrize("longest", [16, 64, 1536])
def test_a_card_may_have_any_size_and_any_name(tmp_path: Path, longest: int) -> None:
    name = "日本語" * 200 + "\x00\u202e.mp4"
    picture = poster(tmp_path / "x", Subject(name=name, kind="video", media_type="v" * 900, size=0), longest=longest)
    assert picture.width == longest


def test_sizes_and_times_are_spelled_for_people() -> None:
    assert [spelled_size(n) for n in (0, 999, 1000, 1_300_000, 5 * 10**12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.3 MB",
        "5.0 TB",
    ]
    assert [spelled_time(n) for n in (0.5, 59.0, 65, 7201)] == ["0.5 s", "59.0 s", "1:05 min", "2:00:01 h"]
