from __future__ import annotations

from tests.store.conftest import path, store, told

__all__ = ["path", "store", "told"]
