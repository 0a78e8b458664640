"""The lists that stay as they are for as long as the program runs: told before the rest of it is loaded.

They stand in `lists.json`, because what makes them takes two seconds to import, and hosts wait for the list of tools.
That the server itself says the same is held by a test; `python scripts/write_lists.py` writes the file anew.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

LISTS: Final = Path(__file__).with_name("lists.json")
UNCHANGING: Final = ("tools/list", "prompts/list", "resources/templates/list")
UNCHANGING_MS: Final = 300_000  # for so long clients may keep them: another version of the program may run soon

CACHED: Final[dict[str, Any]] = {"resultType": "complete", "ttlMs": UNCHANGING_MS, "cacheScope": "public"}
"""What the 2026 revision says beside each of them."""


def list_of(method: str) -> dict[str, Any]:
    """What is answered to a request in the older revisions; tools have no icons yet, which lie at an address.

    Args:
        method: one of `UNCHANGING`.
    """
    told: dict[str, Any] = _lists()[method]
    return told


@lru_cache(maxsize=1)
def _lists() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(LISTS.read_text(encoding="utf-8"))
    return told
