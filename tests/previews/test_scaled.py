"""Pictures made small, whatever file they come from."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from orchestrator_mcp.errors import NoPreviewError
from orchestrator_mcp.previews.scaled import measured, scaled
from tests.previews.files import BLUE, RED, is_like, saved, shown, two_halves


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF"])
def test_every_usual_format_becomes_a_small_jpeg(tmp_path: Path, format_name: str) -> None:
    picture = scaled(saved(tmp_path / "a", two_halves((1000, 500)), format_name), longest=256)
    image = shown(picture)
    assert (picture.media_type, picture.width, picture.height, picture.note) == ("image/jpeg", 256, 128, "")
    assert is_like(image, (0.25, 0.5), RED) and is_like(image, (0.75, 0.5), BLUE)


def test_a_small_picture_keeps_its_size(tmp_path: Path) -> None:
    picture = scaled(saved(tmp_path / "a", two_halves((40, 20))))
    assert (picture.width, picture.height) == (40, 20)


def test_a_thin_picture_keeps_at_least_a_pixel(tmp_path: Path) -> None:
    picture = scaled(saved(tmp_path / "a", Image.new("RGB", (5000, 1))), longest=100)
    assert (picture.width, picture.height) == (100, 1)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a", Image.effect_noise((600, 400), 80).convert("RGB"))
    assert scaled(path) == scaled(path)


def test_a_picture_weighs_no_more_than_it_may(tmp_path: Path) -> None:
    path = saved(tmp_path / "a", Image.effect_noise((1000, 1000), 120).convert("RGB"))
    assert len(scaled(path, longest=1000).data) <= 150_000
    tiny = scaled(path, longest=1000, most_bytes=4_000)
    assert len(tiny.data) <= 4_000 and tiny.width < 1000


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_as_its_camera_was_held(tmp_path: Path, orientation: int) -> None:
    upright = two_halves((400, 200))
    upright.paste((240, 240, 240), (0, 0, 60, 60))  # a mark in the left upper corner
    back = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in back[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", stored, "JPEG", exif=exif, quality=95)
    picture = scaled(path, longest=200)
    image = shown(picture)
    assert measured(path) == (400, 200)
    assert (picture.width, picture.height) == (200, 100)
    assert is_like(image, (0.05, 0.1), (240, 240, 240)) and is_like(image, (0.25, 0.8), RED)
    assert is_like(image, (0.75, 0.5), BLUE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_parts_are_shown_as_a_checker_and_said(tmp_path: Path, mode: str) -> None:
    image = two_halves().convert("RGBA")
    image.putalpha(Image.new("L", (400, 200), 255))
    image.paste((0, 0, 0, 0), (200, 0, 400, 200))
    stored, format_name = (image.convert(mode), "PNG") if mode != "PA" else (image.quantize(), "PNG")
    picture = scaled(saved(tmp_path / "a", stored, format_name))
    seen = shown(picture)
    greys = {seen.getpixel((x, 105)) for x in range(210, 390)}
    assert "checker" in picture.note
    assert len(greys) >= 2 and all(isinstance(grey, tuple) and 150 < min(grey) < 220 for grey in greys)


def test_an_alpha_that_hides_nothing_is_not_spoken_of(tmp_path: Path) -> None:
    assert scaled(saved(tmp_path / "a", two_halves().convert("RGBA"))).note == ""


def test_a_colour_that_counts_as_transparent_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "a", two_halves(), "PNG", transparency=BLUE)
    picture = scaled(path)
    assert "checker" in picture.note and not is_like(shown(picture), (0.75, 0.5), BLUE)


@pytest.mark.parametrize(
    ("mode", "low", "high", "format_name"),
    [("I;16", 0, 65_535, "PNG"), ("I;16", 0, 65_535, "TIFF"), ("F", 0.0, 1.0, "TIFF"), ("F", -3.0, 900.0, "TIFF")],
)
def test_deep_greys_keep_their_light_and_dark(
    tmp_path: Path, mode: str, low: float, high: float, format_name: str
) -> None:
    image = Image.new(mode, (100, 50), low)
    image.paste(high, (50, 0, 100, 50))
    seen = shown(scaled(saved(tmp_path / "a", image, format_name)))
    assert is_like(seen, (0.2, 0.5), (0, 0, 0)) and is_like(seen, (0.8, 0.5), (255, 255, 255))


@pytest.mark.parametrize(("mode", "format_name"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("P", "PNG"), ("1", "PNG")])
def test_other_colours_become_rgb(tmp_path: Path, mode: str, format_name: str) -> None:
    seen = shown(scaled(saved(tmp_path / "a", two_halves().convert(mode), format_name)))
    assert mode == "1" or (is_like(seen, (0.25, 0.5), RED, within=60) and is_like(seen, (0.75, 0.5), BLUE, within=60))


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_is_shown_and_said(tmp_path: Path, format_name: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE, (0, 90, 0))]
    path = saved(tmp_path / "a", frames[0], format_name, save_all=True, append_images=frames[1:], duration=100)
    picture = scaled(path)
    assert picture.note == "the first frame of an animation"
    assert is_like(shown(picture), (0.5, 0.5), RED)


def png_of(width: int, height: int) -> bytes:
    """A PNG that announces a size, and has no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_000, 9_000), (20_000, 10), (14_000, 14_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of(width, height))
    with pytest.raises(NoPreviewError, match="too large"):
        scaled(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a picture", b"%!PS-Adobe-3.0\n", b"8BPS\x00\x01" + bytes(60), png_of(8, 8), b"\xff\xd8\xff\xe0" * 40],
)
def test_what_cannot_be_decoded_is_said_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(NoPreviewError, match="decoded"):
        scaled(path)


def test_a_file_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NoPreviewError, match="no longer"):
        scaled(tmp_path / "gone.png")


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF"])
def test_a_damaged_file_gives_a_picture_or_words_and_never_a_crash(tmp_path: Path, format_name: str) -> None:
    whole = saved(tmp_path / "a", two_halves((64, 48)), format_name).read_bytes()
    path = tmp_path / "b"
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                assert shown(scaled(path)).size <= (768, 768)
            except NoPreviewError as refusal:
                assert refusal.message.endswith(".")
