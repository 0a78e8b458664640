"""Jobs, and the three ways in by which they are asked for; whoever gets no answer asks again with the same key."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import httpx
import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client

from tests.chaos.ground import Ground
from tests.partners import text_to_image

DoorName = Literal["http", "mcp", "inbox"]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A job that somebody wants.

    Attributes:
        key: its idempotency key, and the stem of its file in Inbox.
        backend: where alone it may run.
    """

    key: str
    door: DoorName
    graph: dict[str, Any]
    priority: int = 0
    backend: str | None = None


def wishes(seed: int, count: int) -> list[Wish]:
    """Jobs that all differ, through all doors.

    Args:
        seed: the same gives the same.
        count: how many.
    """
    rng = random.Random(seed)
    return [
        Wish(
            key=f"wish-{seed}-{number}",
            door=rng.choices(("http", "mcp", "inbox"), (6, 1, 3))[0],
            graph=text_to_image(f"shot {number}", seed=number, steps=rng.randint(1, 12), width=64, height=64),
            priority=rng.randint(-2, 2),
        )
        for number in range(count)
    ]


async def ask(ground: Ground, url: str, asked: Sequence[Wish]) -> None:
    """Ask for jobs until the orchestrator dies; those that it confirms are noted in `ground.keys`.

    Args:
        ground: where notes go, and where the Inbox is.
        url: of the orchestrator's doors.
        asked: which; those that were confirmed before are left out.
    """
    open_wishes = [wish for wish in asked if wish.key not in ground.keys]
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
            for wish in open_wishes:
                if wish.door == "inbox":
                    drop(ground, wish)
                elif wish.door == "http":
                    answer = await http.post("/api/job", json=_manifest(wish))
                    if answer.status_code == 202:
                        ground.keys[wish.key] = answer.json()["job_id"]
        agents = [wish for wish in open_wishes if wish.door == "mcp"]
        if agents:
            await _ask_as_agent(ground, url, agents)
    except* (httpx.TransportError, httpx2.TransportError, MCPError, anyio.BrokenResourceError, OSError):
        pass  # it died; whatever was not confirmed is asked for again in its next life
    except* httpx2.HTTPStatusError as refused:
        if refused.subgroup(_is_no_stop) is not None:
            raise


def _is_no_stop(error: BaseException) -> bool:
    """Whether a door refused for another reason than that it stops."""
    return isinstance(error, httpx2.HTTPStatusError) and error.response.status_code != 503


async def _ask_as_agent(ground: Ground, url: str, asked: Sequence[Wish]) -> None:
    async with Client(sse_client(f"{url}/sse")) as client:
        for wish in asked:
            answer = await client.call_tool("submit_job", _manifest(wish))
            if not answer.is_error and isinstance(answer.structured_content, dict):
                ground.keys[wish.key] = answer.structured_content["job_id"]


def drop(ground: Ground, wish: Wish) -> None:
    """Put a manifest into the Inbox, once, as the documentation advises."""
    name = f"{wish.key}.json"
    if name in ground.dropped:
        return
    ground.dropped.add(name)
    manifest = {key: value for key, value in _manifest(wish).items() if key != "idempotency_key"}
    hidden = ground.inbox / f".{name}"
    hidden.write_text(json.dumps(manifest), encoding="utf-8")
    hidden.rename(ground.inbox / name)


def _manifest(wish: Wish) -> dict[str, Any]:
    manifest = {"workflow": wish.graph, "priority": wish.priority, "idempotency_key": wish.key}
    return manifest if wish.backend is None else {**manifest, "backend_affinity": wish.backend}
