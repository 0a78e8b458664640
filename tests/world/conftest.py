from __future__ import annotations

from tests.partners import sandbox, sandboxes

__all__ = ["sandbox", "sandboxes"]
