from __future__ import annotations

from pathlib import Path

import pytest

from tests.watcher.recording import RecordingService


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "Inbox").mkdir()
    return tmp_path / "Inbox"


@pytest.fixture
def service() -> RecordingService:
    return RecordingService()
