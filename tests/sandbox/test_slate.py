"""The slate fits every size, survives every text, and is the same for the same request."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import ImageChops

from orchestrator_mcp.lettering import clean, fitted, width_of
from orchestrator_mcp.sandbox.nodes.slate import draw_slate
from orchestrator_mcp.sandbox.nodes.values import Latent, Model, Sampling

SAMPLING = Sampling(
    model=Model(name="sd15.safetensors", loras=(("film-grain.safetensors", 0.8),)),
    positive="a lighthouse at dusk, storm clouds over the sea",
    negative="blurry",
    seed=42,
    steps=20,
    cfg=7.5,
    sampler="euler",
    scheduler="normal",
    denoise=1.0,
)


def slate_of(width: int = 256, height: int = 256, batch: int = 1, **changes: object) -> Latent:
    """Make a sampled latent."""
    sampling = dataclasses.replace(SAMPLING, **changes)  # type: ignore[arg-type]
    return Latent(width=width, height=height, batch=batch, sampling=sampling)


@pytest.mark.parametrize(
    "size", [(16, 16), (64, 64), (512, 512), (1024, 576), (4096, 64), (64, 1024), (200, 200), (4096, 512)]
)
def test_a_slate_has_exactly_the_size_that_was_asked_for(size: tuple[int, int]) -> None:
    assert draw_slate(slate_of(*size), 0).size == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "日本語 🎬", "\ud800 lone", "\x00\x1b[31m", "x" * 5000, "word " * 3000, "a\u202eb\n\n\tc", "\u0301" * 99],
)
def test_a_slate_survives_every_text(text: str) -> None:
    for size in (64, 256):
        draw_slate(slate_of(size, size, positive=text, negative=text), 0)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"positive": "a cat"},
        {"negative": "sharp"},
        {"steps": 21},
        {"cfg": 8.0},
        {"sampler": "heun"},
        {"scheduler": "karras"},
        {"denoise": 0.5},
        {"model": Model(name="sdxl.safetensors")},
    ],
)
def test_a_slate_shows_everything_that_was_asked_for(change: dict[str, object]) -> None:
    before, after = draw_slate(slate_of(512, 512), 0), draw_slate(slate_of(512, 512, 1, **change), 0)
    assert ImageChops.difference(before, after).getbbox() is not None


def test_the_same_request_gives_the_same_pixels_and_its_batch_different_ones() -> None:
    one, same, next_one = (draw_slate(slate_of(batch=2), number) for number in (0, 0, 1))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != next_one.tobytes()


def test_text_is_as_large_as_fits_and_never_wider_or_higher_than_its_box() -> None:
    for text in ("short", "some words that must be wrapped to fit here", "W" * 300):
        block = fitted(text, 120, 60, largest=40, smallest=8)
        assert block.height <= 60
        assert all(width_of(line, block.size) <= 120 for line in block.lines)
    assert fitted("short", 120, 60, largest=40, smallest=8).size > 20


def test_text_that_cannot_fit_ends_in_dots() -> None:
    assert fitted("word " * 200, 80, 30, largest=20, smallest=8).lines[-1].endswith("...")


def test_cleaning_leaves_one_drawable_line() -> None:
    assert clean("a\n\tb\x00c \ud800") == "a b c ?"
