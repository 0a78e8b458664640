"""Workflows inside of pictures, films, sounds and models, built byte by byte as their programs write them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from orchestrator_mcp.workflows.convert import Embedded, find_workflow
from tests.workflows.graphs import STEADY

PROMPT: Final[dict[str, Any]] = {"1": {"class_type": "Load", "inputs": {"file": "ü.safetensors"}}}
WORKFLOW: Final[dict[str, Any]] = {"nodes": [{"id": 1, "type": "Load"}], "links": [], "version": 0.4}
TEXTS: Final = {"prompt": json.dumps(PROMPT), "workflow": json.dumps(WORKFLOW)}
BOTH: Final = json.dumps({"prompt": TEXTS["prompt"], "workflow": WORKFLOW})


def png(packed: bool = False) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for name, text in TEXTS.items():
        chunks.add_text(name, text, zip=packed)
    return saved("png", pnginfo=chunks)


def international_png() -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("prompt", TEXTS["prompt"], zip=True)
    chunks.add_itxt("workflow", TEXTS["workflow"])
    return saved("png", pnginfo=chunks)


def animated_png() -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for name, text in TEXTS.items():
        chunks.add(b"comf", name.encode() + b"\0" + text.encode("latin-1"), after_idat=True)
    return saved("png", pnginfo=chunks, save_all=True, append_images=[Image.new("RGB", (4, 4), "red")])


def with_exif(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{TEXTS['prompt']}"
    exif[0x010F] = f"workflow:{TEXTS['workflow']}"
    return saved(kind, exif=exif)


def saved(kind: str, **how: Any) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (4, 4)).save(target, kind, **how)
    return target.getvalue()


def box(kind: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def mp4(texts: dict[str, str]) -> bytes:
    """As ComfyUI has FFmpeg write it: named keys beside the items."""
    keys = b"".join(box(b"mdta", name.encode()) for name in texts)
    items = b"".join(
        box(struct.pack(">I", number), box(b"data", struct.pack(">II", 1, 0), text.encode()))
        for number, text in enumerate(texts.values(), 1)
    )
    meta = box(
        b"meta",
        box(b"hdlr", bytes(25)),
        box(b"keys", struct.pack(">II", 0, len(texts)), keys),
        box(b"ilst", items),
    )
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"mdat", bytes(100)) + box(b"moov", box(b"mvhd", bytes(100)), meta)


def mp4_with_comment() -> bytes:
    """As the video nodes write it: one comment in the user data."""
    item = box(b"ilst", box(b"\xa9cmt", box(b"data", struct.pack(">II", 1, 0), BOTH.encode())))
    meta = box(b"udta", box(b"meta", bytes(4), box(b"hdlr", bytes(25)), item))
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", meta) + box(b"mdat", bytes(100))


def mov_with_comment() -> bytes:
    text = BOTH.encode()
    comment = box(b"\xa9cmt", struct.pack(">HH", len(text), 0x55C4), text)
    return box(b"ftyp", b"qt  \0\0\2\0qt  ") + box(b"moov", box(b"udta", comment))


def element(kind: str, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return bytes.fromhex(kind) + struct.pack(">Q", len(content) | 1 << 56) + content


def webm(texts: dict[str, str]) -> bytes:
    tags = [
        element("67c8", element("45a3", name.upper().encode()), element("4487", text.encode()))
        for name, text in texts.items()
    ]
    inside = (
        element("1549a966", bytes(9))
        + element("1f43b675", bytes(50))
        + element("1254c367", *(element("7373", tag) for tag in tags))
    )
    return element("1a45dfa3", bytes(20)) + bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7 + inside


def comments(texts: dict[str, str]) -> bytes:
    entries = [f"{name}={text}".encode() for name, text in texts.items()]
    listed = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
    return struct.pack("<I", 4) + b"Lavf" + struct.pack("<I", len(entries)) + listed


def flac() -> bytes:
    block = comments(TEXTS)
    return b"fLaC" + struct.pack(">I", 34) + bytes(34) + struct.pack(">I", 0x84 << 24 | len(block)) + block


def opus() -> bytes:
    """The comments begin on the second page and go on on the third."""
    packet = b"OpusTags" + comments({**TEXTS, "padding": "x" * 70_000})
    laces = [255] * (len(packet) // 255) + [len(packet) % 255]
    pages, rest = [page([8], b"OpusHead")], packet
    while laces:
        here, laces = laces[:255], laces[255:]
        pages.append(page(here, rest[: sum(here)]))
        rest = rest[sum(here) :]
    return b"".join(pages)


def page(laces: list[int], content: bytes) -> bytes:
    return b"OggS" + bytes(10) + struct.pack("<I", 7) + bytes(8) + bytes([len(laces), *laces]) + content


def mp3(version: int, encoding: int) -> bytes:
    codec, gap = [("latin-1", b"\0"), ("utf-16", b"\0\0"), ("utf-16-be", b"\0\0"), ("utf-8", b"\0")][encoding]
    frames = b""
    for name, text in TEXTS.items():
        body = bytes([encoding]) + name.encode(codec) + gap + text.encode(codec)
        size = sync_safe(len(body)) if version == 4 else struct.pack(">I", len(body))
        frames += b"TXXX" + size + b"\0\0" + body
    return b"ID3" + bytes([version, 0, 0]) + sync_safe(len(frames) + 20) + frames + bytes(20) + b"\xff\xfb" + bytes(50)


def sync_safe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def safetensors() -> bytes:
    header = json.dumps({"__metadata__": TEXTS}).encode()
    return struct.pack("<Q", len(header)) + header


def glb() -> bytes:
    header = json.dumps({"asset": {"version": "2.0", "extras": TEXTS}}).encode()
    return b"glTF" + struct.pack("<II", 2, 20 + len(header)) + struct.pack("<I4s", len(header), b"JSON") + header


def svg() -> bytes:
    return f"<svg xmlns='x'>\n<metadata>\n<![CDATA[\n{BOTH}\n]]>\n</metadata></svg>".encode()


KINDS: Final[dict[str, Callable[[], bytes]]] = {
    "png": png,
    "packed png": lambda: png(packed=True),
    "international png": international_png,
    "animated png": animated_png,
    "webp": lambda: with_exif("webp"),
    "jpeg": lambda: with_exif("jpeg"),
    "mp4": lambda: mp4(TEXTS),
    "mp4 with a comment among its keys": lambda: mp4({"comment": BOTH}),
    "mp4 with a comment": mp4_with_comment,
    "mov with a comment": mov_with_comment,
    "webm": lambda: webm(TEXTS),
    "mkv with a comment": lambda: webm({"comment": BOTH}),
    "flac": flac,
    "opus": opus,
    "mp3 2.3": lambda: mp3(3, 1),
    "mp3 2.4": lambda: mp3(4, 3),
    "latent": safetensors,
    "glb": glb,
    "svg": svg,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_and_the_workflow_are_found(kind: str) -> None:
    assert find_workflow(KINDS[kind]()) == Embedded(prompt=PROMPT, workflow=WORKFLOW)


def test_an_open_file_is_read_in_places_and_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with path.open("wb") as film:
        film.write(box(b"ftyp", b"isom\0\0\2\0isom") + struct.pack(">I4sQ", 1, b"mdat", 16 + 2**32))
        film.seek(2**32, io.SEEK_CUR)
        film.write(mp4(TEXTS))
    with path.open("rb") as film:
        assert find_workflow(film).prompt == PROMPT


@pytest.mark.parametrize(
    "content", [b"", b"x", b"{}", b"\x89PNG\r\n\x1a\n", saved("png"), saved("jpeg"), saved("webp")]
)
def test_files_without_a_workflow_have_nothing_and_no_problem(content: bytes) -> None:
    assert find_workflow(content) == Embedded()


def test_a_prompt_with_nan_is_told_in_words_and_the_workflow_is_still_there() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", '{"1": {"class_type": "A", "inputs": {"is_changed": NaN}}}')
    chunks.add_text("workflow", TEXTS["workflow"])
    found = find_workflow(saved("png", pnginfo=chunks))
    assert (found.prompt, found.workflow) == (None, WORKFLOW)
    assert "NaN is not a JSON number" in found.problems[0]


def test_words_of_other_programs_under_the_same_name_are_no_problem() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", "a cat, masterpiece")
    assert find_workflow(saved("png", pnginfo=chunks)) == Embedded()


def test_a_packed_text_that_swells_is_refused() -> None:
    bomb = b"prompt\0\0" + zlib.compress(b"{" + b" " * 1_000_000, 9)
    chunk = struct.pack(">I4s", len(bomb), b"zTXt") + bomb + bytes(4)
    found = find_workflow(b"\x89PNG\r\n\x1a\n" + chunk, max_text=100_000)
    assert found.prompt is None
    assert "more than 100,000 bytes" in found.problems[0]


def test_a_text_that_is_longer_than_agreed_is_refused() -> None:
    found = find_workflow(mp4({"prompt": json.dumps({"1": "x" * 300_000})}), max_text=1_000)
    assert found.prompt is None
    assert "stands where a text is expected" in found.problems[0]


def test_a_text_that_is_nested_deeper_than_agreed_is_refused() -> None:
    found = find_workflow(mp4({"prompt": '{"a":' * 100 + "1" + "}" * 100}))
    assert found.prompt is None
    assert "nested deeper" in found.problems[0]


def test_endless_empty_boxes_end() -> None:
    found = find_workflow(box(b"ftyp", b"isom\0\0\2\0isom") + box(b"free") * 300_000)
    assert "more than 200,000 parts" in found.problems[0]


@STEADY
@given(kind=st.sampled_from(sorted(KINDS)), cut=st.floats(0, 1))
def test_a_torn_file_never_crashes(kind: str, cut: float) -> None:
    content = KINDS[kind]()
    found = find_workflow(content[: int(len(content) * cut)])
    assert found.prompt in (None, PROMPT)


@STEADY
@given(
    kind=st.sampled_from(sorted(KINDS)),
    places=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
)
def test_a_damaged_file_never_crashes(kind: str, places: list[tuple[float, bytes]]) -> None:
    content = bytearray(KINDS[kind]())
    for place, junk in places:
        at = int(len(content) * place)
        content[at : at + len(junk)] = junk
    assert isinstance(find_workflow(bytes(content)), Embedded)
