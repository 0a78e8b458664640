"""Workflows of ComfyUI's page while no backend is there to explain them: refused, or kept waiting, and then taken."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import anyio

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.pages import page, picture
from tests.world.house import QUICK, FastClock, House, house, until

AWAY = "server: {{port: 0}}\n{quick}backends:\n  - {{id: away, host: 127.0.0.1, port: {port}}}\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_while_every_backend_is_away_it_is_refused_at_the_door_and_waits_in_the_inbox(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "page.json").write_text(json.dumps(page()), encoding="utf-8")
    async with house(tmp_path, AWAY.format(quick=QUICK, port=port), clock=FastClock(20)) as one:
        for manifest in ({"workflow": page()}, {"workflow_id": "page"}):
            refused = await one.api.post("/api/job", json=manifest)
            assert refused.status_code == 422
            assert [entry["type"] for entry in refused.json()["detail"]] == ["no_catalogue"]
            assert "Export (API)" in refused.json()["hint"]
        shown = (await one.api.get("/api/workflows/page")).json()
        assert "no backend has answered yet" in shown["problem"]
        nodes = await one.api.get("/api/backends/away/object_info")
        assert (nodes.status_code, "retry-after" in nodes.headers) == (503, True)

        one.drop("shot.json", json.dumps(page()).encode())
        (tmp_path / "Inbox" / "rerender" / "take.png").write_bytes(picture(workflow=page()))
        await until(lambda: _waiting(one, 2))
        assert not list((tmp_path / "Inbox" / "failed").iterdir())

        async with Sandbox(SandboxOptions(step_ms=0)).serve(port=port):
            await until(lambda: _done(tmp_path, {"shot.json", "take.png"}))
            answer = await one.api.post("/api/job", json={"workflow_id": "page", "backend_affinity": "away"})
            assert answer.status_code == 202, answer.text
            assert (await one.ended(answer.json()["job_id"]))["status"] == "completed"
            assert (await one.api.get("/api/workflows/page")).json()["problem"] is None
            assert not [words for words in (await one.health())["problems"] if "Inbox" in words]


async def test_a_workflow_that_comes_in_the_first_moment_waits_for_the_first_look(tmp_path: Path) -> None:
    async with Sandbox(SandboxOptions(step_ms=0)).serve() as server:
        text = AWAY.format(quick=QUICK, port=server.port)
        async with house(tmp_path, text) as one:
            answers: list[int] = []

            async def hand_in() -> None:
                answers.append((await one.api.post("/api/job", json={"workflow": page()})).status_code)

            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(hand_in)
            assert answers == [202] * 5


async def _waiting(one: House, count: int) -> bool:
    problems = [words for words in (await one.health())["problems"] if "cannot be taken yet" in words]
    return bool(problems) and (count == 1 or f"and {count - 1} more" in problems[0])


async def _done(folder: Path, names: set[str]) -> bool:
    return {path.name for path in (folder / "Inbox" / "processed").iterdir()} == names
