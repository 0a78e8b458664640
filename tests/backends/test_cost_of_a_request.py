"""What a request costs beside the request itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

import anyio
import pytest

from orchestrator_mcp.backends.comfy import ComfyClient


class Watching:
    """Notes which modules are looked for on the disk; finds none."""

    def __init__(self) -> None:
        self.sought: list[str] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        self.sought.append(name)


async def test_no_request_looks_for_modules_on_the_disk(client: ComfyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching()
    with anyio.fail_after(20):
        await client.history("nothing")  # imports what it needs once
        monkeypatch.setattr(sys, "meta_path", [watching, *sys.meta_path])
        await client.history("nothing")
    assert watching.sought == []
