"""Many pictures on one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from orchestrator_mcp.errors import NoPreviewError
from orchestrator_mcp.previews.contact_sheet import SheetEntry, State, contact_sheet
from tests.previews.files import BLUE, RED, is_like, saved, shown, two_halves

CAPTIONS = [
    "",
    "seed 12, steps 30",
    "日本語のキャプション と 漢字",
    "مرحبا بالعالم",
    "a\x00b\x1b[31m\u202e\u200b\ud800 c",
    "👩‍👩‍👧‍👦 Zürich ßÆØ → × — …",
    "x" * 10_000,
    "word " * 3_000,
    "line\nbreak\ttab",
]


def colours(image: Image.Image) -> int:
    return len(set(image.resize((64, 64), Image.Resampling.NEAREST).get_flattened_data()))


def test_pictures_stand_in_a_grid_in_their_order(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{n}.png", Image.new("RGB", (64, 64), colour)) for n, colour in enumerate([RED, BLUE])]
    sheet = contact_sheet([SheetEntry(picture=path, caption="") for path in files], title="t", columns=2, cell=100)
    image = shown(sheet)
    assert is_like(image, (0.25, 0.5), RED) and is_like(image, (0.75, 0.5), BLUE)
    below = contact_sheet([SheetEntry(picture=path, caption="") for path in files], title="t", columns=1, cell=100)
    assert below.width < sheet.width and below.height > sheet.height


def test_the_cells_have_the_shape_of_the_pictures(tmp_path: Path) -> None:
    wide = SheetEntry(picture=saved(tmp_path / "w", two_halves((320, 180))), caption="")
    tall = SheetEntry(picture=saved(tmp_path / "t", two_halves((180, 320))), caption="")
    flat = contact_sheet([wide] * 3, title="", columns=3)
    high = contact_sheet([tall] * 3, title="", columns=3)
    assert flat.width == high.width and flat.height < high.height
    assert contact_sheet([wide] * 3, title="").width > 3 * 256


@pytest.mark.parametrize("state", get_args(State))
def test_a_job_without_picture_has_its_place_and_its_reason(state: State) -> None:
    bare = contact_sheet([SheetEntry(caption="a", state=state)], title="t")
    told = contact_sheet([SheetEntry(caption="a", state=state, reason="it ran out of memory")], title="t")
    assert bare.data != told.data and (bare.width, bare.height) == (told.width, told.height)


def test_every_state_looks_different() -> None:
    assert (
        len({contact_sheet([SheetEntry(caption="a", state=state)], title="t").data for state in get_args(State)}) == 5
    )


def test_a_picture_that_cannot_be_decoded_leaves_the_others_in_peace(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    entries = [
        SheetEntry(picture=broken, caption="broken"),
        SheetEntry(picture=tmp_path / "gone.png", caption="gone"),
        SheetEntry(picture=saved(tmp_path / "good", Image.new("RGB", (64, 64), RED)), caption="good"),
    ]
    image = shown(contact_sheet(entries, title="t", columns=3))
    assert is_like(image, (5 / 6, 0.5), RED)


def test_a_frame_in_memory_is_a_picture_too() -> None:
    frame = io.BytesIO()
    Image.new("RGB", (64, 64), BLUE).save(frame, "JPEG")
    image = shown(contact_sheet([SheetEntry(picture=frame, caption="f", state="running")], title="t", cell=128))
    assert is_like(image, (0.5, 0.6), BLUE)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_any_words_can_be_captions(caption: str) -> None:
    sheet = contact_sheet([SheetEntry(caption=caption, reason=caption, state="failed")] * 2, title=caption)
    assert colours(shown(sheet)) > 1


def test_more_than_fit_are_counted_on_the_sheet() -> None:
    entries = [SheetEntry(caption=str(number)) for number in range(520)]
    full = contact_sheet(entries, title="t", cell=96)
    assert full.note == "and 120 more"
    few = contact_sheet(entries[:10], title="t", most=6, total=1_000)
    assert few.note == "and 994 more"
    assert contact_sheet(entries[:6], title="t").note == ""


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(NoPreviewError, match="nothing"):
        contact_sheet([], title="t")


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 12, 31, 60])
def test_sheets_of_any_count_are_of_a_size_that_is_shown_whole(count: int) -> None:
    sheet = contact_sheet([SheetEntry(caption="seed 1")] * count, title="t", cell=512, longest=1536)
    assert max(sheet.width, sheet.height) <= 1536
    assert count == 1 or max(sheet.width, sheet.height) > 1000
    assert 0.4 < sheet.width / sheet.height < 4.5


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    entries = [SheetEntry(picture=saved(tmp_path / "a", two_halves()), caption="é 1")] * 3
    assert contact_sheet(entries, title="t") == contact_sheet(entries, title="t")
