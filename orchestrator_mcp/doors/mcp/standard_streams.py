"""The process's standard streams as message streams.

The SDK's `stdio_server` does the same, but it cannot be left while the peer keeps its end open, nor while a message is
on its way in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp_types.jsonrpc import JSONRPCMessage, jsonrpc_message_adapter
from pydantic import ValidationError

from orchestrator_mcp.doors.mcp.lines import StdinLines, StdoutLines

Streams = tuple[ObjectReceiveStream[JSONRPCMessage], ObjectSendStream[JSONRPCMessage]]


@asynccontextmanager
async def standard_streams() -> AsyncIterator[Streams]:
    """Messages from standard input, and to standard output.

    A line that is no message is passed over. What was sent is written before the block is left.
    A peer that has closed its end says nothing more either: the messages from it end. From the beginning descriptor 1
    is standard error: what else prints goes there, and the protocol stays clean.
    """
    arriving, reads = anyio.create_memory_object_stream[JSONRPCMessage](0)
    writes, leaving = anyio.create_memory_object_stream[JSONRPCMessage](0)
    lines, output = StdinLines(), StdoutLines()
    reading = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, lines, arriving, reading)
        tasks.start_soon(_write, leaving, output, reading)
        async with reads, writes:
            try:
                yield reads, writes
            finally:
                reading.cancel()  # before `reads` closes, which a message on its way in would take for an error


async def _read(lines: StdinLines, arriving: ObjectSendStream[JSONRPCMessage], reading: anyio.CancelScope) -> None:
    with reading:
        async with arriving:
            async for line in lines:
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError:
                    continue  # whatever follows may be one
                await arriving.send(message)


async def _write(leaving: ObjectReceiveStream[JSONRPCMessage], output: StdoutLines, reading: anyio.CancelScope) -> None:
    async with leaving:
        try:
            async for message in leaving:
                await output.write(message.model_dump_json(by_alias=True, exclude_unset=True) + "\n")
        except BrokenPipeError:
            reading.cancel()
