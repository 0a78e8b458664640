"""One way to hand in a manifest for each door, with answers that can be compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx
from mcp import Client

from orchestrator_mcp.app import Orchestrator, orchestrator
from orchestrator_mcp.settings import load_settings

LIBRARY = Path(__file__).parents[2] / "workflows"
LOOK = 0.02  # seconds between two looks at a folder that somebody else writes


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a door did not take a manifest.

    Attributes:
        words: all that it said, with paths spelled as `parameters.steps`.
    """

    words: str


class Way(Protocol):
    """A door, as somebody in front of it sees it."""

    async def hand_in(self, body: dict[str, Any], *, stem: str = "shot_010") -> str | Refusal:
        """Hand a manifest in; the id of its job, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class House:
    """A whole orchestrator in a folder of its own, with the built-in sandbox, and its three doors."""

    folder: Path
    running: Orchestrator
    http: httpx.AsyncClient
    ways: dict[str, Way]

    async def end_of(self, job_id: str) -> dict[str, Any]:
        """Follow a job over HTTP until it has ended and is delivered."""
        async with self.http.stream("GET", f"/api/job/{job_id}/events") as response:
            lines = [line.removeprefix("data: ") async for line in response.aiter_lines() if line.startswith("data: ")]
        last: dict[str, Any] = json.loads(lines[-1])
        assert last["type"] == "end"
        job: dict[str, Any] = last["job"]
        return job

    async def result_of(self, job: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        """The folder of a delivered job, and its result.json."""
        [folder] = await self.until(lambda: list((self.folder / "Outbox").glob(f"*__{job['job_id'][-8:]}")))
        return folder, json.loads((folder / "result.json").read_text(encoding="utf-8"))

    async def until(self, look: Any) -> Any:
        """Look until there is something to see; give it."""
        while not (found := look()):  # noqa: ASYNC110 - files cannot set an event
            await anyio.sleep(LOOK)
        return found


@dataclass(frozen=True, kw_only=True)
class HttpWay:
    http: httpx.AsyncClient

    async def hand_in(self, body: dict[str, Any], *, stem: str = "shot_010") -> str | Refusal:
        response = await self.http.post("/api/job", json=body)
        answer = response.json()
        if response.status_code == 202:
            return str(answer["job_id"])
        assert 400 <= response.status_code < 500
        problems = answer["detail"] if isinstance(answer["detail"], list) else []
        paths = [".".join(map(str, problem["loc"][1:])) for problem in problems]
        return Refusal(words=f"{' '.join(paths)} {json.dumps(answer, ensure_ascii=False)}")


@dataclass(frozen=True, kw_only=True)
class McpWay:
    agent: Client

    async def hand_in(self, body: dict[str, Any], *, stem: str = "shot_010") -> str | Refusal:
        answer = await self.agent.call_tool("submit_job", body)
        if answer.is_error:
            return Refusal(words=" ".join(getattr(block, "text", "") for block in answer.content))
        assert answer.structured_content is not None
        return str(answer.structured_content["job_id"])


@dataclass(frozen=True, kw_only=True)
class InboxWay:
    inbox: Path
    http: httpx.AsyncClient

    async def hand_in(self, body: dict[str, Any], *, stem: str = "shot_010") -> str | Refusal:
        before = await self._jobs()
        unfinished = self.inbox / f"{stem}.json.tmp"
        unfinished.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
        unfinished.rename(self.inbox / f"{stem}.json")
        error = self.inbox / "failed" / f"{stem}.json.error.json"
        while True:
            if new := (await self._jobs()) - before:
                [job_id] = new
                return job_id
            if error.exists():
                told = json.loads(error.read_text(encoding="utf-8"))
                paths = [".".join(map(str, problem["path"])) for problem in told["problems"]]
                return Refusal(words=f"{' '.join(paths)} {json.dumps(told, ensure_ascii=False)}")
            await anyio.sleep(LOOK)

    async def _jobs(self) -> set[str]:
        listed = (await self.http.get("/api/jobs")).json()["jobs"]
        return {job["job_id"] for job in listed}


@asynccontextmanager
async def house(folder: Path, more: str = "") -> AsyncIterator[House]:
    """Run the whole orchestrator, with more in its configuration."""
    shutil.copytree(LIBRARY, folder / "workflows")
    config = folder / "config.yaml"
    config.write_text(f"data_dir: ./data\n{more}", encoding="utf-8")
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(60))
        running = await stack.enter_async_context(orchestrator(load_settings(config, port=0, environ={})))
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=running.url, trust_env=False, verify=False, timeout=30)
        )
        agent = await stack.enter_async_context(Client(f"{running.url}/mcp"))
        ways: dict[str, Way] = {
            "http": HttpWay(http=http),
            "mcp": McpWay(agent=agent),
            "inbox": InboxWay(inbox=folder / "Inbox", http=http),
        }
        yield House(folder=folder, running=running, http=http, ways=ways)
