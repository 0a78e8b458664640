"""The API's JSON on standard output, as it came."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator_mcp.command.api import RefusedError

T = TypeVar("T")


def print_json(text: str) -> None:
    """Print an answer of the API, unchanged; what standard output has no letters for is escaped as JSON does it.

    Args:
        text: the JSON.
    """
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = re.sub(r"[^\x00-\x7f]+", lambda found: json.dumps(found[0])[1:-1], text)
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


async def printing_refusals(ask: Callable[[], Awaitable[T]], *, as_json: bool) -> T:
    """Ask; a refusal is JSON too, so that a program which reads standard output learns why.

    Args:
        ask: gives the answer.
        as_json: whether a program reads.

    Raises:
        RefusedError: the server said no.
    """
    try:
        return await ask()
    except RefusedError as error:
        if as_json:
            print_json(error.body)
        raise
