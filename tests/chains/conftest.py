from __future__ import annotations

from tests.partners import sandboxes

__all__ = ["sandboxes"]
