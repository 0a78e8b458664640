from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.assets.samples import BEGIN, png, sha_of
from tests.cli.program import run, served


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with a running orchestrator, a graph and a picture; and its url."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "invert.json").write_text(json.dumps(BEGIN), encoding="utf-8")
    (folder / "face.png").write_bytes(png())
    with served(folder) as (_, url):
        yield folder, url


def test_a_picture_of_this_machine_is_sent_ahead(place: tuple[Path, str]) -> None:
    folder, url = place
    ended = run("submit", "invert.json", "--input", "image=face.png", "--watch", folder=folder)
    assert ended.returncode == 0, ended.stderr
    picture = next(word for word in ended.stdout.split() if word.endswith(".png") and "/" in word)
    with Image.open(picture) as image:
        assert image.getpixel((0, 0)) == (245, 235, 225)
    [job] = httpx.get(f"{url}/api/jobs", trust_env=False).json()["jobs"]
    assert job["parameters"] == {"image": f"asset:{sha_of(png())}"}


def test_what_is_no_picture_is_told_in_the_servers_words(place: tuple[Path, str]) -> None:
    folder, _ = place
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    ended = run("submit", "invert.json", "--input", "image=text.png", folder=folder)
    assert ended.returncode == 1
    assert "a picture, video or sound is needed" in ended.stderr


@pytest.mark.parametrize("pair", ["face.png", "=face.png", "image=", "image=nothing.png"])
def test_a_pair_that_is_none_is_a_wrong_command_line(place: tuple[Path, str], pair: str) -> None:
    ended = run("submit", "invert.json", "--input", pair, folder=place[0])
    assert ended.returncode == 2
    assert "--input" in ended.stderr
