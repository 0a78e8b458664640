from __future__ import annotations

from tests.partners import sandbox, sandboxes
from tests.store.conftest import path, store, told

__all__ = ["path", "sandbox", "sandboxes", "store", "told"]
