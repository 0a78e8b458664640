"""The smallest files that are what their names say."""

from __future__ import annotations

import io
import wave

from PIL import Image


def _pixel() -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (1, 1), (200, 60, 40)).save(kept, "PNG")
    return kept.getvalue()


def _silence() -> bytes:
    kept = io.BytesIO()
    with wave.open(kept, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * 8)
    return kept.getvalue()


PIXEL = _pixel()
SILENCE = _silence()
