"""One backend behind `comfy-api-proxy`, behind the orchestrator, and bare: what each adds to a job.

The proxy puts one ComfyUI server behind Comfy's API v2 and is the nearest that there is to this program with one
backend. All three are followed in the same way: submit, ask until it is done, fetch the picture.
"""

from __future__ import annotations

import itertools
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import anyio
import httpx

from benchmarks.houses import PATIENCE, farm, house, online, picture
from benchmarks.postgres import AbsentError
from benchmarks.reporting import Row

PEER: Final = "comfy-api-proxy"
MODULE: Final = "comfy_api_proxy"
ASK: Final = 0.002  # seconds between two questions whether a job is done
CALLERS: Final = 8  # jobs under way at the same time, where there are several
TURNS: Final = 3  # of those, in each way

Through = Callable[[httpx.AsyncClient, int], Awaitable[bytes]]
"""Takes one job the whole way; the bytes of its picture."""


async def bare(client: httpx.AsyncClient, color: int) -> bytes:
    """A script that speaks with ComfyUI itself."""
    prompt_id = (await _sent(client, "/prompt", {"prompt": picture(color)}))["prompt_id"]
    found: dict[str, Any] = {}
    while not found:
        found = await _asked(client, f"/history/{prompt_id}", after=ASK)
    [file] = found[prompt_id]["outputs"]["2"]["images"]
    return (await client.get("/view", params=file)).raise_for_status().content


async def proxied(client: httpx.AsyncClient, color: int) -> bytes:
    """Through comfy-api-proxy."""
    job = await _sent(client, "/api/v2/jobs", {"workflow": picture(color)})
    # It asks for the history and then for the queue; a job that ends between the two is called expired, for a moment.
    while job["status"] in ("queued", "running", "expired"):
        job = await _asked(client, f"/api/v2/jobs/{job['id']}", after=ASK)
    [output] = job["outputs"]
    return (await client.get(output["url"], follow_redirects=True)).raise_for_status().content


async def ours(client: httpx.AsyncClient, color: int) -> bytes:
    """Through the orchestrator."""
    job_id = (await _sent(client, "/api/job", {"workflow": picture(color)}))["job_id"]
    job: dict[str, Any] = {"status": "queued"}
    while job["status"] in ("queued", "running"):
        job = await _asked(client, f"/api/job/{job_id}", after=ASK)
    [output] = job["outputs"]
    return (await client.get(output["url"])).raise_for_status().content


async def _sent(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.post(path, json=body)).raise_for_status().json()
    return answer


async def _asked(client: httpx.AsyncClient, path: str, *, after: float) -> dict[str, Any]:
    await anyio.sleep(after)
    answer: dict[str, Any] = (await client.get(path)).raise_for_status().json()
    return answer


@contextmanager
def proxy(backend: int, folder: Path) -> Iterator[str]:
    """Run comfy-api-proxy, with what it can keep on the disk kept there; its url.

    Args:
        backend: the port of the server behind it.
        folder: where its state lies.

    Raises:
        AbsentError: it is not installed, or does not start.
    """
    if find_spec(MODULE) is None:
        raise AbsentError("not installed; it comes with `pip install '.[bench]'`")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-u", "-m", f"{MODULE}.cli", "run", "--port", str(port)]
    command += ["--comfyui", f"http://127.0.0.1:{backend}", "--state-dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise AbsentError(f"it ended at once with {process.wait(PATIENCE)}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)
        process.stdout.close()


@dataclass(kw_only=True)
class Way:
    """One way to have a job rendered, and what was measured over it.

    Attributes:
        through: takes a job.
        client: of what takes it.
        spans: seconds of jobs that were alone.
        rates: jobs a second when several were under way.
    """

    through: Through
    client: httpx.AsyncClient
    spans: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    async def alone(self, color: int) -> None:
        """One job."""
        began = time.perf_counter()
        await self.through(self.client, color)
        self.spans.append(time.perf_counter() - began)

    async def several(self, colors: Sequence[int]) -> None:
        """Some jobs, `CALLERS` of them at a time."""
        wanted = iter(colors)
        began = time.perf_counter()

        async def call() -> None:
            for color in wanted:
                await self.through(self.client, color)

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLERS):
                tasks.start_soon(call)
        self.rates.append(len(colors) / (time.perf_counter() - began))

    def row(self, who: str, least: float) -> Row:
        """What there is to say.

        Args:
            who: its name.
            least: the seconds of a job that nothing stands before.
        """
        each = statistics.median(self.spans)
        return {
            "through": who,
            "ms each": round(each * 1000, 1),
            "overhead ms": round((each - least) * 1000, 1),
            f"{CALLERS} at a time, jobs/s": round(statistics.median(self.rates), 1),
        }


async def compared(folder: Path, jobs: int) -> tuple[list[Row], list[Row]]:
    """All of them, each before a backend of its own, by turns: whatever else the machine does, it does to all.

    Args:
        folder: where they store.
        jobs: alone, in each way; and as many several at a time.

    Returns:
        What each took, and who was left out and why.
    """
    absent: list[Row] = []
    async with AsyncExitStack() as stack:
        ways = {"a script": Way(through=bare, client=await _client(stack, f"http://127.0.0.1:{_backend(stack)}"))}
        running = stack.enter_context(house(folder / "ours", [_backend(stack)], more="outbox: inbox"))
        ways["ours"] = Way(through=ours, client=await _client(stack, await running.opened()))
        await online(ways["ours"].client, 1)
        try:
            url = stack.enter_context(proxy(_backend(stack), folder / "proxy"))
            ways[PEER] = Way(through=proxied, client=await _client(stack, url))
        except AbsentError as error:
            absent.append({"left out": PEER, "why": str(error)})
        colors = itertools.count(1)  # a colour that no cache has
        for _ in range(jobs):
            for way in ways.values():
                await way.alone(next(colors))
        for _ in range(TURNS):
            for way in ways.values():
                await way.several(list(itertools.islice(colors, jobs // TURNS)))
    least = statistics.median(ways["a script"].spans)
    return [way.row(who, least) for who, way in ways.items()], absent


def _backend(stack: AsyncExitStack) -> int:
    [port] = stack.enter_context(farm(1))
    return int(port)


async def _client(stack: AsyncExitStack, url: str) -> httpx.AsyncClient:
    client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE)
    return await stack.enter_async_context(client)
