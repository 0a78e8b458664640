"""The API's JSON on standard output, as it came."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator_mcp.command.api import RefusedError

T = TypeVar("T")


def print_json(text: str) -> None:
    """Print an answer of the API, unchanged.

    Args:
        text: the JSON.
    """
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
