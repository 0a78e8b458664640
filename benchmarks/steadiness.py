"""For how long the event loop is ever held: `python -m benchmarks.steadiness`.

One orchestrator with many backends is given, one after the other, all that is large: a batch, a graph, an upload, a
full Inbox, renders as fast as they come, previews and long lists. A task in it that wants a turn each millisecond tells
how long it waited for one, and how much of that the loop itself was at work: the rest it stood aside for other
processes and threads.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
from PIL import Image

from benchmarks.houses import LOOK, farm, house, online, picture, rendered
from benchmarks.reporting import Report, Row, machine

GOAL: Final = 50.0  # milliseconds
PROBING: Final = 6.0  # seconds: three looks at each backend


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything."""

    backends: int
    batch: int
    nodes: int
    pixels: int
    drops: int
    renders: int


@dataclass(kw_only=True)
class Trial:
    """An orchestrator under test, and when what was done to it.

    Attributes:
        client: of its API.
        inbox: its Inbox.
        sizes: how much of everything.
        spans: what was done, from when to when, by the clock that all processes share.
    """

    client: httpx.AsyncClient
    inbox: Path
    sizes: Sizes
    spans: list[tuple[str, float, float]] = field(default_factory=list)

    async def do(self, what: str, deed: Callable[[], Awaitable[object]]) -> None:
        """Do something, and note when."""
        began = time.monotonic()
        await deed()
        self.spans.append((what, began, time.monotonic()))

    async def post(self, body: dict[str, Any]) -> None:
        """Submit."""
        (await self.client.post("/api/job", json=body)).raise_for_status()

    async def a_batch(self) -> None:
        """Thousands of jobs in one request; they are cancelled again."""
        colors = list(range(self.sizes.batch))
        answer = await self.client.post("/api/job", json={"workflow": picture(), "batch": {"1.color": colors}})
        (await self.client.delete(f"/api/batch/{answer.raise_for_status().json()['batch_id']}")).raise_for_status()

    async def a_graph(self) -> None:
        """One with very many nodes."""
        image = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}}
        inverted = {str(n): _inverts(n - 1) for n in range(2, self.sizes.nodes)}
        saved = {
            "class_type": "SaveImage",
            "inputs": {"images": [str(self.sizes.nodes - 1), 0], "filename_prefix": "x"},
        }
        await self.post({"workflow": {"1": image, **inverted, str(self.sizes.nodes): saved}})

    async def an_upload(self) -> None:
        """A large picture."""
        side = self.sizes.pixels
        content = io.BytesIO()
        Image.effect_noise((side, side), 90).save(content, "png", compress_level=1)
        headers = {"Content-Type": "image/png"}
        (await self.client.post("/api/assets", content=content.getvalue(), headers=headers)).raise_for_status()

    async def a_full_inbox(self) -> None:
        """Many manifests at once."""
        for number in range(self.sizes.drops):
            text = json.dumps({"workflow": picture(), "parameters": {"1.color": number}})
            hidden = self.inbox / f".{number}.part"
            hidden.write_text(text, encoding="utf-8")
            hidden.rename(self.inbox / f"{number}.json")
        while any(self.inbox.glob("*.json")):  # noqa: ASYNC110 - it tells nobody
            await anyio.sleep(LOOK)
        await rendered(self.client, self.sizes.drops)

    async def renders(self) -> None:
        """As fast as they come."""
        await self.post({"workflow": picture(), "batch": {"1.color": list(range(self.sizes.renders))}})
        await rendered(self.client, self.sizes.renders)

    async def looks(self) -> None:
        """What people and programs look at."""
        listed = (
            (await self.client.get("/api/jobs", params={"status": "completed", "limit": 200}))
            .raise_for_status()
            .json()["jobs"]
        )
        for job in listed[:20]:
            (await self.client.get(f"/api/job/{job['job_id']}/preview")).raise_for_status()
        for path in ("/api/backends", "/api/workflows", "/api/health", "/openapi.json"):
            (await self.client.get(path)).raise_for_status()

    async def nothing(self) -> None:
        """The backends are looked at, and that is all."""
        await anyio.sleep(PROBING)


def _inverts(source: int) -> dict[str, Any]:
    return {"class_type": "ImageInvert", "inputs": {"image": [str(source), 0]}}


def held(spans: Sequence[tuple[str, float, float]], holds: Sequence[Sequence[float]]) -> list[Row]:
    """What was done, and the longest that the loop was held meanwhile.

    Args:
        spans: what was done, and from when to when.
        holds: when, for how long in seconds, and how long of that the loop's thread was at work.
    """
    rows: list[Row] = []
    for what, began, ended in spans:
        inside = [(wall, work) for at, wall, work in holds if began <= at <= ended]
        longest = max(inside, default=(0.0, 0.0))
        rows.append(
            {
                "what": what,
                "took s": round(ended - began, 2),
                "longest without a turn, ms": round(1000 * longest[0], 1),
                "longest at work, ms": round(1000 * max((work for _, work in inside), default=0.0), 1),
                f"turns above {GOAL:g} ms": sum(1000 * wall > GOAL for wall, _ in inside),
            }
        )
    return rows


async def trial(folder: Path, ports: Sequence[int], sizes: Sizes) -> list[tuple[str, float, float]]:
    """All of it.

    Args:
        folder: where the orchestrator lives.
        ports: of its backends.
        sizes: how much of everything.

    Returns:
        What was done, and when.
    """
    with house(folder, ports, module="benchmarks.watched", more="outbox: inbox") as running:
        url = await running.opened()
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=300) as client:
            at = Trial(client=client, inbox=folder / "Inbox", sizes=sizes)
            await at.do(f"{len(ports)} backends come online", lambda: online(client, len(ports)))
            await at.do("they are looked at", at.nothing)
            await at.do(f"a batch of {sizes.batch} jobs, then cancelled", at.a_batch)
            await at.do(f"a graph of {sizes.nodes} nodes", at.a_graph)
            await at.do(f"an upload of {sizes.pixels} x {sizes.pixels} pixels", at.an_upload)
            await at.do(f"{sizes.renders} renders", at.renders)
            await at.do(f"{sizes.drops} manifests in the Inbox, and their renders", at.a_full_inbox)
            await at.do("lists and previews", at.looks)
    return at.spans


async def measure(report: Report, sizes: Sizes) -> None:
    """Everything.

    Args:
        report: what to add to.
        sizes: how much of everything.
    """
    with tempfile.TemporaryDirectory(prefix="steadiness-") as place, farm(sizes.backends) as ports:
        watch = Path(place) / "holds.json"
        os.environ["LOOP_WATCH"] = str(watch)  # for the process that is measured
        spans = await trial(Path(place) / "house", ports, sizes)
        rows = held(spans, json.loads(watch.read_text(encoding="utf-8")))
    report.table("the loop", rows)
    report.goal("longest at work without a turn, ms", max(row["longest at work, ms"] for row in rows), most=GOAL)
    report.bars("Longest at work without a turn, ms", [(r["what"], r["longest at work, ms"]) for r in rows], GOAL)
    report.notes.append(
        "At work is the processor time of the loop's thread between two turns of the task that watches; the longest "
        "without a turn has in it what other processes (the farm, this benchmark) and worker threads took meanwhile."
    )
    report.notes.append(
        "What limits it now: while much is rendered a long turn is the sum of hundreds of steps of a tenth to half a "
        "millisecond, ready together because many of a hundred backends end in one moment; the largest single part is "
        "a round of the garbage collector through what is young, 5 to 20 ms."
    )


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steadiness", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--backends", type=int, default=100)
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=2000)
    parser.add_argument("--pixels", type=int, default=4000)
    parser.add_argument("--drops", type=int, default=1000)
    parser.add_argument("--renders", type=int, default=1000)
    given = vars(parser.parse_args())
    report = Report("steadiness", "For how long the event loop is ever held", machine())
    out = given.pop("out")
    anyio.run(measure, report, Sizes(**given), backend_options={"use_uvloop": True})
    report.write(out)


if __name__ == "__main__":
    main()
