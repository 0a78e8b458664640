"""What lies where in the folders of an orchestrator."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.world.house import House, until


def names_in(folder: Path) -> list[str]:
    """What lies in a folder that may not be there yet."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def there(folder: Path) -> list[str]:
    return sorted(entry for entry in os.listdir(folder) if entry not in (".orch", "processed", "failed", "rerender"))


def reason(at: House, name: str) -> dict[str, Any]:
    return dict(json.loads((at.settings.inbox_dir / "failed" / f"{name}.error.json").read_text("utf-8")))


def results(at: House) -> dict[str, dict[str, Any]]:
    """Every result in Outbox by its folder's name."""
    found = at.settings.outbox_dir.glob("*/result.json")
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in found}


async def until_in(at: House, folder: str, *names: str) -> None:
    """Wait until files are put away in a folder of the Inbox."""

    async def put_away() -> bool:
        return set(names) <= set(names_in(at.settings.inbox_dir / folder))

    await until(put_away, 40)


async def assert_alive(at: House) -> None:
    """The watcher still takes files, and nobody complains."""
    at.drop("alive.json")
    await until_in(at, "processed", "alive.json")
    assert (await at.health())["problems"] == []
    assert os.listdir(at.settings.inbox_dir / ".orch" / "claimed") == []


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()
