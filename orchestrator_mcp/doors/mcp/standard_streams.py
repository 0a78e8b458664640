"""The process's standard streams as message streams; also for the bridge, which needs nothing of the server.

The SDK's `stdio_server` does the same, but it cannot be left while the peer keeps its end open, nor while a message is
on its way in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter
from pydantic import ValidationError

from orchestrator_mcp.doors.mcp.lines import StdinLines, StdoutLines

Received = SessionMessage | Exception
Streams = tuple[ObjectReceiveStream[Received], ObjectSendStream[SessionMessage]]


@asynccontextmanager
async def standard_streams() -> AsyncIterator[Streams]:
    """Messages from standard input, and to standard output.

    A line that is no message arrives as the exception that says so. What was sent is written before the block is left.
    From then on descriptor 1 is standard error: what else prints goes there, and the protocol stays clean.

    Raises:
        ExceptionGroup: with a BrokenPipeError, when the peer has closed its end.
    """
    arriving, reads = anyio.create_memory_object_stream[Received](0)
    writes, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    lines, output = StdinLines(), StdoutLines()
    reading = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, lines, arriving, reading)
        tasks.start_soon(_write, leaving, output)
        async with reads, writes:
            try:
                yield reads, writes
            finally:
                reading.cancel()  # before `reads` closes, which a message on its way in would take for an error


async def _read(lines: StdinLines, arriving: ObjectSendStream[Received], reading: anyio.CancelScope) -> None:
    with reading:
        async with arriving:
            async for line in lines:
                await arriving.send(_parsed(line))


def _parsed(line: str) -> Received:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        return error


async def _write(leaving: ObjectReceiveStream[SessionMessage], output: StdoutLines) -> None:
    async with leaving:
        async for item in leaving:
            await output.write(item.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n")
