"""A whole orchestrator that asks for tokens, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from orchestrator_mcp.app import Choices, Orchestrator, orchestrator
from orchestrator_mcp.settings import load_settings

TOKENS = {
    "viewer": "viewer-0123456789-0123456789",
    "alice": "alice-0123456789-0123456789",
    "bob": "bob-0123456789-0123456789",
    "boss": "boss-0123456789-0123456789",
}
SCOPES = {"viewer": "read", "alice": "submit", "bob": "submit", "boss": "admin"}
PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A running one, and how to speak to it.

    Attributes:
        running: what runs.
        folder: that of its configuration.
    """

    running: Orchestrator
    folder: Path

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def client(self, name: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client that shows the token of this name; none without."""
        shown = {"Authorization": f"Bearer {TOKENS[name]}"} if name else {}
        return httpx.AsyncClient(base_url=self.url, headers={**shown, **headers}, trust_env=False, timeout=20)


def write_tokens(folder: Path) -> Path:
    """Write the tokens into a file, as an operator does."""
    path = folder / "tokens.yaml"
    entries = [f"- {{name: {name}, token: {token}, scopes: [{SCOPES[name]}]}}" for name, token in TOKENS.items()]
    path.write_text("tokens:\n" + "\n".join(entries) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@asynccontextmanager
async def guarded(folder: Path, config: str = "", *, tokens: bool = True, host: str = "") -> AsyncIterator[Guarded]:
    """Run one in a folder.

    Args:
        folder: where its configuration and data lie.
        config: lines of its configuration.
        tokens: whether it asks for one.
        host: the address to listen on; loopback when empty.
    """
    server = ""
    if tokens:
        write_tokens(folder)
        server = "server: {tokens_file: ./tokens.yaml}\n"
    (folder / "config.yaml").write_text(server + config, encoding="utf-8")
    settings = load_settings(folder / "config.yaml", host=host or None, port=0, environ={})
    with anyio.fail_after(120):
        async with orchestrator(settings, Choices()) as running:
            yield Guarded(running=running, folder=folder)


@asynccontextmanager
async def agent(farm: Guarded, path: str, name: str | None) -> AsyncIterator[Client]:
    """An MCP client that shows a token."""
    headers = {"Authorization": f"Bearer {TOKENS[name]}"} if name else {}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:
        if path == "/sse":
            target, era = sse_client(farm.url + path, headers=headers), "legacy"
        else:
            target, era = streamable_http_client(farm.url + path, http_client=http), "auto"
        async with Client(target, mode=era) as client:
            yield client


async def appeared(path: Path) -> None:
    """Wait until a file is there; folders tell nobody."""
    with anyio.fail_after(20):
        while True:
            if await anyio.Path(path).exists():
                return
            await anyio.sleep(0.02)
