"""The input, output and temp folders of one server, and the names of files in them."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from datetime import datetime
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})

_ANNOTATION = re.compile(r"^(?P<name>.*?) ?\[(?P<kind>input|output|temp)\]$", re.DOTALL)


class OutsideError(Exception):
    """A name leads out of the folder it should stay in."""


class Folders:
    """Where one server keeps its files; temp is emptied at each start."""

    def __init__(self, root: Path) -> None:
        """Name the folders; nothing is touched yet.

        Args:
            root: The folder that holds the three.
        """
        self.root = Path(os.path.abspath(root))
        self.input = self.root / "input"
        self.output = self.root / "output"
        self.temp = self.root / "temp"

    def prepare(self) -> None:
        """Make the folders, empty temp, and put one example picture into input."""
        shutil.rmtree(self.temp, ignore_errors=True)
        for folder in (self.input, self.output, self.temp):
            folder.mkdir(parents=True, exist_ok=True)
        example = self.input / "example.png"
        if not example.exists():
            example.write_bytes(_example_picture())

    def of_kind(self, kind: str) -> Path | None:
        """Give the folder that the wire calls ``input``, ``output`` or ``temp``.

        Args:
            kind: The wire's word.

        Returns:
            The folder, or None for another word.
        """
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(kind)

    def pictures(self) -> list[str]:
        """List the pictures that lie directly in the input folder, sorted."""
        with os.scandir(self.input) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_file() and os.path.splitext(entry.name)[1].lower() in PICTURE_SUFFIXES
            )

    def annotated(self, name: str) -> Path:
        """Find the file a loader names, which may end in `` [temp]`` or the like.

        Args:
            name: The name, with a subfolder if there is one.

        Returns:
            Where it would lie.

        Raises:
            OutsideError: If the name leads out of its folder.
        """
        name, kind = split_annotation(name, "input")
        return inside(self.of_kind(kind) or self.input, name)

    def wrong_picture(self, name: str) -> str | None:
        """Say what is wrong with the picture that a loader names.

        Args:
            name: As in ``annotated``.

        Returns:
            A sentence, or None if the file is there.
        """
        try:
            there = self.annotated(name).is_file()
        except (OutsideError, ValueError, OSError):
            there = False
        return None if there else f"Invalid image file: {name}"

    def mark(self, name: str) -> str:
        """Give a mark of a picture's bytes.

        Args:
            name: As in ``annotated``.

        Returns:
            A hash, or an empty text if the file cannot be read.
        """
        try:
            return hashlib.sha256(self.annotated(name).read_bytes()).hexdigest()
        except (OutsideError, ValueError, OSError):
            return ""


def split_annotation(name: str, otherwise: str) -> tuple[str, str]:
    """Split a name such as ``a.png [temp]`` into the name and the kind of folder.

    Args:
        name: The name as it came.
        otherwise: The kind if the name says none.
    """
    match = _ANNOTATION.match(name)
    return (name, otherwise) if match is None else (match["name"], match["kind"])


def inside(folder: Path, name: str) -> Path:
    """Join a relative name to a folder without leaving it.

    Args:
        folder: An absolute folder.
        name: A relative name from outside.

    Returns:
        The joined path.

    Raises:
        OutsideError: If it would lie elsewhere, or holds a null character.
    """
    if "\0" in name:
        raise OutsideError("a file name holds a null character")
    path = Path(os.path.abspath(os.path.join(folder, name)))
    if path != folder and folder not in path.parents:
        raise OutsideError(f"{name!r} leads out of the {folder.name} folder")
    return path


def expand_prefix(prefix: str, size: tuple[int, int], moment: datetime) -> str:
    """Fill the variables of a ``filename_prefix`` in.

    Args:
        prefix: For example ``shots/%year%-%width%``.
        size: Width and height of the picture, in pixels.
        moment: The local time.
    """
    if "%" not in prefix:
        return prefix
    values = {
        "%width%": str(size[0]),
        "%height%": str(size[1]),
        "%year%": f"{moment.year}",
        "%month%": f"{moment.month:02d}",
        "%day%": f"{moment.day:02d}",
        "%hour%": f"{moment.hour:02d}",
        "%minute%": f"{moment.minute:02d}",
        "%second%": f"{moment.second:02d}",
    }
    for name, value in values.items():
        prefix = prefix.replace(name, value)
    return prefix


def next_counter(folder: Path, stem: str) -> int:
    """Find the number after the highest that a file ``stem_<number>_…`` has.

    Args:
        folder: Where the files lie; made if absent.
        stem: The last part of the expanded prefix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(os.path.normcase(stem)) + r"_(\d+)")
    matches = (pattern.match(os.path.normcase(name)) for name in os.listdir(folder))
    return max((int(match[1]) for match in matches if match is not None), default=0) + 1


@cache
def _example_picture() -> bytes:
    picture = Image.new("RGB", (512, 512), (36, 40, 52))
    draw = ImageDraw.Draw(picture)
    for ring in range(7):
        inset = 36 + 30 * ring
        colour = (70 + 25 * ring, 110 + 12 * ring, 190 - 14 * ring)
        draw.ellipse((inset, inset, 512 - inset, 512 - inset), fill=colour)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
