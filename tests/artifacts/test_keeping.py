from __future__ import annotations

import hashlib
import io
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.artifacts import ArtifactLimits, ArtifactStore, OutputPlace, StoredFile, output_names
from orchestrator_mcp.errors import ArtifactError, NotFoundError, StorageError
from tests.artifacts.samples import picture

MOST = 1 << 20
PICTURE = picture("PNG")
SHA256 = hashlib.sha256(PICTURE).hexdigest()


async def in_chunks(content: bytes, size: int = 100) -> AsyncIterator[bytes]:
    source = io.BytesIO(content)
    while piece := source.read(size):
        yield piece


async def take(store: ArtifactStore, content: bytes, *, declared: int | None = None, most: int = MOST) -> StoredFile:
    with anyio.fail_after(10):
        return await store.receive(in_chunks(content), declared_length=declared, name_hint="ComfyUI_1.png", most=most)


def left_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("buffer_size", [1, 64, 1 << 20])
async def test_a_file_is_kept_by_its_content(tmp_path: Path, buffer_size: int) -> None:
    store = ArtifactStore(tmp_path / "artifacts", ArtifactLimits(buffer_size=buffer_size))
    stored = await take(store, PICTURE, declared=len(PICTURE))
    assert stored == StoredFile(
        sha256=SHA256, size=len(PICTURE), media_type="image/png", kind="image", extension="png", width=24, height=16
    )
    assert store.path_of(SHA256).read_bytes() == PICTURE
    assert await store.size_of(SHA256) == len(PICTURE)
    assert left_in(tmp_path / "artifacts") == [f"{SHA256[:2]}/{SHA256}"]


async def test_the_same_content_twice_at_once_is_one_file(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(take, store, PICTURE)
    assert left_in(tmp_path) == [f"{SHA256[:2]}/{SHA256}"]


@pytest.mark.parametrize(
    ("content", "declared", "most", "reason"),
    [
        (PICTURE[:-3], None, MOST, "The PNG ends before IEND"),
        (PICTURE, len(PICTURE) + 1, MOST, rf"has {len(PICTURE)} bytes; {len(PICTURE) + 1} were announced"),
        (PICTURE, len(PICTURE) - 1, MOST, "were announced"),
        (PICTURE, None, 50, "more than the 50 bytes"),
        (PICTURE, 51, 50, "would have 51 bytes; 50 are allowed"),
        (b"", None, MOST, "empty"),
        (b"", 0, MOST, "empty"),
    ],
)
async def test_a_file_that_is_not_whole_leaves_nothing(
    tmp_path: Path, content: bytes, declared: int | None, most: int, reason: str
) -> None:
    store = ArtifactStore(tmp_path, ArtifactLimits(buffer_size=16))
    with pytest.raises(ArtifactError, match=reason):
        await take(store, content, declared=declared, most=most)
    assert left_in(tmp_path) == []


async def test_the_files_of_a_job_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(ArtifactError):
        async with store.together() as arriving:
            first = await arriving.receive_text("first")
            assert not store.path_of(first.sha256).exists()
            await arriving.receive_text("")
    assert left_in(tmp_path) == []
    async with store.together() as arriving:
        texts = [await arriving.receive_text(text) for text in ("first", "second", "first")]
    assert [store.path_of(text.sha256).read_text() for text in texts] == ["first", "second", "first"]
    assert len(left_in(tmp_path)) == 2


async def test_a_file_is_new_when_the_last_of_its_job_has_come(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    async with store.together() as arriving:
        early = await arriving.receive_text("early")
        [hidden] = (tmp_path / ".incoming").iterdir()
        os.utime(hidden, (0, 0))
    assert not await store.remove(early.sha256, older_than=datetime.fromtimestamp(1_000_000_000, UTC))


async def test_a_sender_that_dies_leaves_nothing(tmp_path: Path) -> None:
    async def dying() -> AsyncIterator[bytes]:
        yield PICTURE[:50]
        raise ConnectionResetError("gone")

    store = ArtifactStore(tmp_path, ArtifactLimits(buffer_size=10))
    with pytest.raises(ConnectionResetError):
        await store.receive(dying(), declared_length=None, name_hint="", most=MOST)
    assert left_in(tmp_path) == []


async def test_a_cancelled_arrival_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, ArtifactLimits(buffer_size=10))
    arriving = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield PICTURE[:50]
        yield PICTURE[50:60]
        arriving.set()
        await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                await store.receive(endless(), declared_length=None, name_hint="", most=MOST)

            tasks.start_soon(receive)
            await arriving.wait()
            assert await store.sweep_temporaries() == 0
            assert len(left_in(tmp_path)) == 1
            tasks.cancel_scope.cancel()
    assert left_in(tmp_path) == []


async def test_what_a_dead_run_left_is_swept_and_files_stay(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert await store.sweep_temporaries() == 0
    await take(store, PICTURE)
    (tmp_path / ".incoming" / "dead.part").write_bytes(b"torn")
    assert await store.sweep_temporaries() == 1
    assert left_in(tmp_path) == [f"{SHA256[:2]}/{SHA256}"]


async def test_a_text_is_kept_even_with_half_a_surrogate_pair(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    async with store.together() as arriving:
        stored = await arriving.receive_text("a caption \ud83d")
    assert (stored.media_type, stored.kind, stored.extension) == ("text/plain", "text", "txt")
    assert store.path_of(stored.sha256).read_bytes() == b"a caption ?"


async def test_a_removed_file_is_gone_unless_it_came_again_since(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    await take(store, PICTURE)
    assert not await store.remove(SHA256, older_than=datetime(2000, 1, 1, tzinfo=UTC))
    assert await store.remove(SHA256)
    assert not await store.remove(SHA256)
    assert await store.size_of(SHA256) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_a_sha256_leads_to_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError):
        ArtifactStore(tmp_path).path_of(name)


async def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, ArtifactLimits(free_space=1 << 60))
    with pytest.raises(StorageError, match="MB are free"):
        await take(store, PICTURE)
    assert left_in(tmp_path) == []


async def test_a_folder_that_cannot_be_used_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("in the way")
    with pytest.raises(StorageError, match=r"artifacts cannot be used"):
        await take(ArtifactStore(tmp_path / "artifacts"), PICTURE)


def test_output_names_are_numbered_by_node_and_never_the_backends() -> None:
    places = [OutputPlace("9", "png"), OutputPlace("9", "png"), OutputPlace("12:3", "mp4"), OutputPlace("12_3", "mp4")]
    assert output_names(places, "shot 010") == [
        "shot_010_9_01.png",
        "shot_010_9_02.png",
        "shot_010_12_3_01.mp4",
        "shot_010_12_3_01-2.mp4",
    ]


def test_hostile_nodes_extensions_and_stems_make_safe_short_names() -> None:
    places = [
        OutputPlace("../" * 50, "png"),
        OutputPlace("..", "p/g"),
        OutputPlace("x\n", ""),
        OutputPlace("é" * 99, "x"),
    ]
    for name in output_names(places * 40, "ü" * 300):
        assert len(os.fsencode(name)) <= 120
        assert "/" not in name and "\n" not in name and not name.startswith(".")
