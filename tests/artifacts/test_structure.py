from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.artifacts.structure import inspect
from orchestrator_mcp.errors import ArtifactError
from tests.artifacts.samples import MP4_PARTS, WHOLE, box, picture

CHECKED_TO_THE_END = sorted(WHOLE)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_whole_file_is_what_its_content_says_whatever_its_name(name: str) -> None:
    content = WHOLE[name]()
    hint = "x.json" if name == "json" else "lies.exe"
    seen = inspect(content, name_hint=hint)
    assert seen.format.extension == name.split(" ")[0]


@pytest.mark.parametrize(
    "name", [name for name in sorted(WHOLE) if name.split(" ")[0] in ("png", "jpg", "gif", "webp")]
)
def test_an_image_tells_its_size(name: str) -> None:
    seen = inspect(WHOLE[name](), name_hint="")
    assert (seen.width, seen.height) == (24, 16)


@pytest.mark.parametrize("name", CHECKED_TO_THE_END)
def test_a_file_that_breaks_off_anywhere_is_refused(name: str) -> None:
    content = WHOLE[name]()
    start = 1 if name == "json" else 12
    for length in range(start, len(content)):
        with pytest.raises(ArtifactError):
            inspect(content[:length], name_hint="x.json" if name == "json" else "x")


def test_a_torn_png_says_where() -> None:
    content = picture("PNG")
    with pytest.raises(ArtifactError, match=rf"ends before IEND: it breaks off at byte 33 of {len(content) - 20}"):
        inspect(content[:-20], name_hint="")


def test_a_png_with_one_wrong_bit_is_refused() -> None:
    content = bytearray(picture("PNG"))
    content[60] ^= 1
    with pytest.raises(ArtifactError, match="checksum of its b'IDAT' chunk at byte 33"):
        inspect(bytes(content), name_hint="")


def test_a_png_of_enormous_size_is_known_by_its_header_alone() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0))
    seen = inspect(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""), name_hint="")
    assert (seen.width, seen.height) == (50_000, 50_000)


def test_a_video_without_index_is_refused() -> None:
    with pytest.raises(ArtifactError, match="lacks its index"):
        inspect(MP4_PARTS[0] + MP4_PARTS[1], name_hint="x.mp4")


@pytest.mark.parametrize("length", [0, 1, 7, 9, 2**31])
def test_a_box_with_a_length_that_leads_nowhere_ends_the_walk(length: int) -> None:
    bent = MP4_PARTS[0] + struct.pack(">I", length) + b"mdat" + b"\x00\x00\x00\x00\x00\x00\x00\x03"
    with pytest.raises(ArtifactError):
        inspect(bent, name_hint="x.mp4")


def test_a_last_box_may_reach_to_the_end() -> None:
    content = MP4_PARTS[0] + MP4_PARTS[2] + struct.pack(">I", 0) + b"mdat" + b"x" * 50
    assert inspect(content, name_hint="").format.extension == "mp4"


@pytest.mark.parametrize(
    ("content", "name", "media_type", "kind", "extension"),
    [
        (b"a caption\n", "x.txt", "text/plain", "text", "txt"),
        ("東京".encode(), "x.exe", "text/plain", "text", "txt"),
        (b"<html><script>", "x.html", "text/plain", "text", "txt"),
        (b"<svg xmlns=''></svg>", "x.svg", "image/svg+xml", "image", "svg"),
        (b"no picture", "x.svg", "text/plain", "text", "txt"),
        (b"a,b\n", "x.CSV", "text/csv", "text", "csv"),
        (b"\x00\x01\x02", "x.latent", "application/octet-stream", "file", "latent"),
        (b"MZ\x00\x01", "x.exe", "application/octet-stream", "file", "bin"),
        (b"\xff\xfe\xfd", "", "application/octet-stream", "file", "bin"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt 1234", "x", "audio/wav", "audio", "wav"),
        (b"fLaC" + b"\x00" * 40, "x", "audio/flac", "audio", "flac"),
        (b"OggS" + b"\x00" * 24 + b"OpusHead", "x", "audio/ogg", "audio", "opus"),
        (b"ID3\x04" + b"\x00" * 40, "x", "audio/mpeg", "audio", "mp3"),
        (b"\xff\xfb\x90\x00" + b"\x00" * 40, "x", "audio/mpeg", "audio", "mp3"),
        (b"\x1aE\xdf\xa3\x01\x42\x82\x84webm", "x", "video/webm", "video", "webm"),
        (b"\x1aE\xdf\xa3\x01\x42\x82\x88matroska", "x", "video/x-matroska", "video", "mkv"),
        (box(b"ftyp", b"M4A \x00\x00\x00\x00") + box(b"moov") + box(b"mdat"), "x", "audio/mp4", "audio", "m4a"),
    ],
)
def test_other_files_get_the_type_that_is_safe(
    content: bytes, name: str, media_type: str, kind: str, extension: str
) -> None:
    found = inspect(content, name_hint=name).format
    assert (found.media_type, found.kind, found.extension) == (media_type, kind, extension)


HEADS = [WHOLE[name]()[:size] for name in sorted(WHOLE) for size in (4, 12, 33)]


@given(st.sampled_from(HEADS), st.binary(max_size=200))
def test_no_content_makes_it_stumble(head: bytes, rest: bytes) -> None:
    try:
        inspect(head + rest or b"x", name_hint="x.json")
    except ArtifactError as refusal:
        assert str(refusal).endswith(".")
