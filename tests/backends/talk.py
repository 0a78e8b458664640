"""What tests say to a backend through the client."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio.abc
import anyio.lowlevel

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.history import DeclaredOutput, HistoryEntry
from orchestrator_mcp.backends.messages import Message, PromptFinished

WAIT = 20.0
Graph = dict[str, dict[str, Any]]


def slow_graph(pictures: int = 500) -> Graph:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": pictures, "color": 1}},
        "2": {"class_type": "RebatchImages", "inputs": {"images": ["1", 0], "batch_size": 1}},
        "3": {"class_type": "ImageBlur", "inputs": {"image": ["2", 0], "blur_radius": 3, "sigma": 1.0}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "test/slow"}},
    }


def new_id() -> str:
    return str(uuid.uuid4())


async def send(client: ComfyClient, graph: Graph, *, client_id: str = "listener") -> str:
    prompt_id = new_id()
    submission = await client.submit(graph, prompt_id=prompt_id, client_id=client_id, marker={"job": "j", "attempt": 1})
    assert submission.prompt_id == prompt_id
    assert submission.node_errors == []
    return prompt_id


async def ended(client: ComfyClient, prompt_id: str) -> HistoryEntry:
    """Ask until the prompt is over; the server's answer is what is waited for."""
    while True:
        entry = await client.history(prompt_id)
        if entry is not None:
            return entry
        await anyio.lowlevel.checkpoint()


async def heard_until_finished(messages: AsyncIterator[Message], prompt_id: str) -> list[Message]:
    heard: list[Message] = []
    async for message in messages:
        heard.append(message)
        if isinstance(message, PromptFinished) and message.prompt_id == prompt_id:
            break
    return heard


async def downloaded(client: ComfyClient, output: DeclaredOutput) -> bytes:
    async with client.view(output) as stream:
        return b"".join([chunk async for chunk in stream.chunks()])


def answer(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """The bytes of an HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_request(stream: anyio.abc.ByteStream) -> bytes:
    """Read one request whole."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive()
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += await stream.receive()
    return head + b"\r\n\r\n" + body
