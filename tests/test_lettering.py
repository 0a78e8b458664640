"""Texts in letters of all the world, as they come onto pictures: drawn where a font has them, dots where none has."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw

from orchestrator_mcp.lettering import clean, fitted, typefaces, width_of, write

JAPANESE, CHINESE, KOREAN = "夕暮れの灯台、がぎぐ", "黄昏时的灯塔，暴风云", "황혼의 등대"


@pytest.fixture
def without_more_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which nothing but Pillow's own font is found."""
    typefaces._which.cache_clear()
    monkeypatch.setattr(typefaces, "_others", lambda: ())
    yield
    typefaces._which.cache_clear()


def drawn(text: str) -> Image.Image:
    image = Image.new("RGB", (400, 40))
    write(ImageDraw.Draw(image), (4, 4), clean(text), 20, (255, 255, 255))
    return image


@pytest.mark.parametrize("text", [JAPANESE, CHINESE, KOREAN, f"prompt {JAPANESE}, seed 12"])
def test_letters_of_east_asia_are_drawn_each_with_its_own_picture(text: str) -> None:
    assert clean(text) == text
    assert clean(unicodedata.normalize("NFD", text)) == text  # as macOS spells names of files
    other = text.replace(text[-3], "木")
    assert ImageChops.difference(drawn(text), drawn(other)).getbbox() is not None, "boxes would look the same"


def test_what_no_font_has_becomes_three_dots() -> None:
    assert clean("take 🎬🎬 2") == "take ... 2"
    assert clean("ไทย हिन्दी") == "..."


@pytest.mark.usefixtures("without_more_fonts")
def test_where_only_the_plainest_font_is_there_letters_are_spelled_with_what_it_has() -> None:
    assert clean("Zürich → Łódź × naïve") == "Zurich -> Lodz x naive"
    assert clean(f"prompt {KOREAN}, seed 12") == "prompt ..., seed 12"


@pytest.mark.parametrize("text", [JAPANESE * 5, f"{CHINESE} and words between, {KOREAN}"])
def test_mixed_lines_stay_in_their_box(text: str) -> None:
    block = fitted(clean(text), 150, 80, largest=40, smallest=8)
    assert block.height <= 80 and len(block.lines) > 1
    assert all(width_of(line, block.size) <= 150 for line in block.lines)


@pytest.mark.skipif(sys.platform != "linux", reason="the folders of fonts are Linux's")
def test_a_font_of_the_system_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    wanted = tmp_path / "fonts" / "noto" / "NotoSansCJK-Regular.ttc"
    assert typefaces._of_system(wanted.name) is None
    wanted.parent.mkdir(parents=True)
    (font,) = Path(str(files("noto_cjk_sans_jp_regular"))).glob("*.otf")
    shutil.copy(font, wanted)
    assert typefaces._of_system(wanted.name) == str(wanted)
