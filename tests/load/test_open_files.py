"""More connections than the process may have open files."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.cli.program import SERVER, started

MOST = 96


@pytest.mark.skipif(sys.platform != "linux", reason="asks for /proc")
async def test_a_crowd_that_takes_every_open_file_is_outlived(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {port: 0}\n", encoding="utf-8")
    limited = ("sh", "-c", f'ulimit -n {MOST} && exec "$@"', "sh", *SERVER)
    with started(*limited, folder=tmp_path) as server, anyio.fail_after(60):
        url = (await anyio.to_thread.run_sync(server.wait_for, r"API +(http://\S+)/api "))[1]
        address = ("127.0.0.1", httpx.URL(url).port or 0)
        with ExitStack() as crowd:
            for _ in range(MOST + 30):
                crowd.enter_context(socket.create_connection(address))
            # those beyond the limit are shown out again at once, so the number moves
            while len(os.listdir(f"/proc/{server.process.pid}/fd")) < MOST - 4:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)
            assert server.process.poll() is None
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            while not await healthy(client):  # noqa: ASYNC110 - the crowd is still being shown out
                await anyio.sleep(0.05)
            job_id = (await client.post("/api/job", json={"workflow_id": "model_free_card"})).json()["job_id"]
            assert '"completed"' in (await client.get(f"/api/job/{job_id}/events")).text
        assert await anyio.to_thread.run_sync(server.stop) == 0
        assert "Traceback" not in server.all_said()


async def healthy(client: httpx.AsyncClient) -> bool:
    """Whether the server answers, and well."""
    try:
        return bool((await client.get("/api/health")).json()["status"] == "ok")
    except httpx.TransportError:
        return False
