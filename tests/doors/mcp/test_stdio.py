from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types.jsonrpc import JSONRPCRequest
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS

from orchestrator_mcp.doors.mcp.greeting import answer_to, list_to
from orchestrator_mcp.doors.mcp.lines import LineSplitter
from orchestrator_mcp.doors.mcp.lists import UNCHANGING
from tests.doors.mcp.farm import JOB, ServiceDouble
from tests.doors.mcp.served import served
from tests.doors.mcp.until_signal import TOLD_TO_STOP

ROOT = Path(__file__).parents[3]
SERVE = [sys.executable, "-m", "tests.doors.mcp.stdio_program"]
BRIDGE = [sys.executable, "-m", "tests.doors.mcp.bridge_program"]
NEAREST = [sys.executable, "-m", "tests.doors.mcp.nearest_program"]
VERSION = "io.modelcontextprotocol/protocolVersion"
ENVELOPE = {
    VERSION: "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def _line(method: str, params: dict[str, Any], *, number: int | None = 1) -> bytes:
    identity = {} if number is None else {"id": number}
    return json.dumps({"jsonrpc": "2.0", **identity, "method": method, "params": params}).encode() + b"\n"


class Pipe:
    """The program at the other end, spoken to line by line."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None and process.stderr is not None
        self.process = process
        self.out = BufferedByteReceiveStream(process.stdout)
        self.errors = BufferedByteReceiveStream(process.stderr)

    async def ask(self, method: str, params: dict[str, Any], *, number: int = 1) -> dict[str, Any]:
        await self.say(_line(method, params, number=number))
        line = await self.out.receive_until(b"\n", 1_000_000)
        answer: dict[str, Any] = json.loads(line)  # anything but the protocol fails here
        return answer

    async def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(line)

    async def shake_hands(self) -> None:
        answer = await self.ask("initialize", HELLO)
        assert answer["result"]["protocolVersion"] == "2025-06-18"
        await self.say(_line("notifications/initialized", {}, number=None))

    async def close(self) -> tuple[bytes, bytes]:
        """Close our end; give what was left to read on both of theirs."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.rest()

    async def rest(self) -> tuple[bytes, bytes]:
        out = b"".join([chunk async for chunk in self.out])
        errors = b"".join([chunk async for chunk in self.errors])
        await self.process.wait()
        return out, errors


@asynccontextmanager
async def started(*command: str, stdout: int = subprocess.PIPE) -> AsyncIterator[Process]:
    with anyio.fail_after(60):
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        async with await anyio.open_process(command, env=env, cwd=ROOT, stdout=stdout) as process:
            try:
                yield process
            finally:
                if process.returncode is None:
                    process.kill()


@asynccontextmanager
async def piped(*command: str) -> AsyncIterator[Pipe]:
    async with started(*command) as process:
        yield Pipe(process)


async def test_standard_output_carries_the_protocol_and_nothing_else() -> None:
    async with piped(*SERVE) as pipe:
        await pipe.shake_hands()
        answer = await pipe.ask("tools/call", {"name": "list_backends", "arguments": {}}, number=2)
        out, errors = await pipe.close()
    assert answer["result"]["structuredContent"]["total"] == 1
    assert out == b""
    assert b"noise of the program" in errors and b"noise of a child that read ''" in errors


async def test_the_end_of_the_input_ends_the_program() -> None:
    async with piped(*SERVE) as pipe:
        await pipe.shake_hands()
        out, errors = await pipe.close()
    assert (pipe.process.returncode, out, errors) == (0, b"", b"listening\n")


async def test_a_signal_ends_the_program_while_its_input_is_open() -> None:
    async with piped(*SERVE) as pipe:
        await pipe.shake_hands()
        pipe.process.terminate()
        out, errors = await pipe.rest()
    assert (pipe.process.returncode, out, errors) == (TOLD_TO_STOP, b"", b"listening\n")


async def test_a_signal_ends_the_program_while_nobody_reads_its_output() -> None:
    async with piped(*SERVE) as pipe:
        await pipe.shake_hands()
        with anyio.move_on_after(1):  # the pipes are full long before
            for number in range(2, 10_000):
                await pipe.say(_line("tools/list", {}, number=number))
        pipe.process.terminate()
        assert await pipe.process.wait() == TOLD_TO_STOP


async def test_an_output_that_nobody_will_read_ends_the_program_quietly() -> None:
    readable, writable = os.pipe()
    async with started(*SERVE, stdout=writable) as process:
        os.close(writable)
        os.close(readable)
        assert process.stdin is not None and process.stderr is not None
        await process.stdin.send(_line("initialize", HELLO))
        errors = b"".join([chunk async for chunk in process.stderr])
        assert await process.wait() == 0
    assert errors == b"listening\n"


async def test_discover_first_leaves_the_client_free_to_take_either_era() -> None:
    async with piped(*SERVE) as pipe:
        discovered = await pipe.ask("server/discover", {"_meta": ENVELOPE})
        assert discovered["result"]["supportedVersions"] == ["2026-07-28"]
        again = await pipe.ask("server/discover", {"_meta": ENVELOPE}, number=2)
        assert again["result"] == discovered["result"]
        await pipe.shake_hands()
    async with piped(*SERVE) as pipe:
        await pipe.ask("server/discover", {"_meta": ENVELOPE})
        listed = await pipe.ask("resources/list", {"_meta": ENVELOPE}, number=2)
        assert listed["result"]["resources"]
        refused = await pipe.ask("initialize", {"protocolVersion": "2025-06-18"}, number=3)
        assert refused["error"]["code"] == -32022


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_bridge_carries_a_whole_job_with_progress_in_either_era(era: Any) -> None:
    farm = ServiceDouble()
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        farm.change(status="completed", progress=1.0)

    async def render() -> None:
        await farm.watched.wait()
        farm.change(status="running", progress=0.5)

    async with served(farm) as server:
        parameters = StdioServerParameters(
            command=BRIDGE[0], args=[*BRIDGE[1:], server.url], env={"PYTHONPATH": str(ROOT)}, cwd=ROOT
        )
        async with Client(stdio_client(parameters), mode=era) as client, anyio.create_task_group() as tasks:
            await client.call_tool("submit_job", {"workflow_id": "w", "metadata": {"text": "a\u2028b\x85c"}})
            tasks.start_soon(render)
            status = await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 45}, progress_callback=hear)
    assert status.structured_content is not None and status.structured_content["status"] == "completed"
    assert heard == [0.5]
    assert farm.submitted[0].manifest.metadata == {"text": "a\u2028b\x85c"}


async def test_separators_inside_an_answer_survive_the_bridge() -> None:
    farm = ServiceDouble()
    farm.farm = [farm.farm[0].model_copy(update={"id": "a\u2028b\x85c"})]
    async with served(farm) as server, piped(*BRIDGE, server.url) as pipe:
        await pipe.shake_hands()
        answer = await pipe.ask("tools/call", {"name": "list_backends", "arguments": {}}, number=2)
    assert answer["result"]["structuredContent"]["backends"][0]["id"] == "a\u2028b\x85c"


async def test_a_bridge_ends_quietly_with_its_client() -> None:
    async with served(ServiceDouble()) as server, piped(*BRIDGE, f"{server.url}/sse") as pipe:
        await pipe.shake_hands()
        out, errors = await pipe.close()
    assert (pipe.process.returncode, out, errors) == (0, b"", b"listening\n")


async def test_a_bridge_says_that_the_orchestrator_has_gone() -> None:
    async with served(ServiceDouble()) as server, piped(*BRIDGE, server.url) as pipe:
        await pipe.shake_hands()
        await pipe.ask("tools/list", {}, number=2)
        await server.door.close_streams()
        server.stop()
        await pipe.errors.receive_until(b"\n", 1000)
        said = await pipe.errors.receive_until(b"\n", 1000)
        _, errors = await pipe.close()
    assert pipe.process.returncode == 0
    assert f"The orchestrator at {server.url} has gone: it closed the connection.".encode() in said
    assert b"Traceback" not in errors


async def test_a_client_is_greeted_in_either_era_while_there_is_no_orchestrator() -> None:
    async with piped(*BRIDGE, "http://127.0.0.1:1") as pipe:
        discovered = await pipe.ask("server/discover", {"_meta": ENVELOPE}, number=1)
        assert discovered["result"]["supportedVersions"] == ["2026-07-28"]
        await pipe.shake_hands()
        assert (await pipe.ask("ping", {}, number=2))["result"] == {}
        out, errors = await pipe.close()
    assert (pipe.process.returncode, out, errors) == (0, b"", b"listening\n")


async def test_what_was_asked_before_there_was_an_orchestrator_is_answered_when_there_is(tmp_path: Path) -> None:
    place = tmp_path / "url"
    place.touch()
    async with served(ServiceDouble()) as server, piped(*NEAREST, str(place)) as pipe:
        await pipe.shake_hands()
        await pipe.say(_line("tools/call", {"name": "list_backends", "arguments": {}}, number=2))
        assert (await pipe.ask("ping", {}, number=3))["id"] == 3
        await pipe.process.stdin.aclose()  # type: ignore[union-attr]
        place.write_text(server.url, encoding="ascii")
        out, _ = await pipe.rest()
    (told,) = [json.loads(line) for line in out.splitlines()]
    assert (told["id"], told["result"]["structuredContent"]["total"], pipe.process.returncode) == (2, 1, 0)


async def test_the_tools_are_listed_in_either_era_while_there_is_no_orchestrator() -> None:
    async with piped(*BRIDGE, "http://127.0.0.1:1") as pipe:
        modern = await pipe.ask("tools/list", {"_meta": ENVELOPE}, number=1)
        assert (len(modern["result"]["tools"]), modern["result"]["resultType"]) == (7, "complete")
        await pipe.say(_line("tools/call", {"name": "list_backends", "arguments": {}, "_meta": ENVELOPE}, number=2))
        assert (await pipe.ask("prompts/list", {"_meta": ENVELOPE}, number=3))["result"]["prompts"]
    async with piped(*BRIDGE, "http://127.0.0.1:1") as pipe:
        await pipe.shake_hands()
        assert len((await pipe.ask("tools/list", {}, number=2))["result"]["tools"]) == 7


@pytest.mark.parametrize("method", UNCHANGING)
async def test_what_is_listed_early_is_word_for_word_what_the_server_lists(method: str) -> None:
    modern = JSONRPCRequest(jsonrpc="2.0", id=1, method=method, params={"_meta": ENVELOPE})
    early, older = list_to(modern, greeted=False), list_to(modern.model_copy(update={"params": None}), greeted=True)
    async with served(ServiceDouble()) as server, httpx.AsyncClient(trust_env=False) as http:
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28"}
        said = await http.post(f"{server.url}/mcp", json=modern.model_dump(), headers={**headers, "Mcp-Method": method})
        async with piped(*BRIDGE, server.url) as pipe:
            await pipe.shake_hands()
            await pipe.ask("resources/list", {}, number=2)  # from then on the server answers
            listed = await pipe.ask(method, {}, number=3)
    assert early is not None and early.result == without_icons_of_tools(said.json()["result"]), (
        "run scripts/write_lists.py"
    )
    assert older is not None and older.result == without_icons_of_tools(listed["result"])


def without_icons_of_tools(result: dict[str, Any]) -> dict[str, Any]:
    """Those lie at an address, which is not known before the server runs."""
    for tool in result.get("tools", ()):
        assert tool.pop("icons")
    return result


@pytest.mark.parametrize("params", [{}, {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}])
def test_a_list_is_not_told_to_who_has_not_said_which_revision_it_speaks(params: dict[str, Any]) -> None:
    assert list_to(JSONRPCRequest(jsonrpc="2.0", id=1, method="tools/list", params=params), greeted=False) is None


@pytest.mark.parametrize("revision", HANDSHAKE_PROTOCOL_VERSIONS)
async def test_the_greeting_is_word_for_word_what_the_server_says(revision: str) -> None:
    hello = JSONRPCRequest(jsonrpc="2.0", id=1, method="initialize", params={**HELLO, "protocolVersion": revision})
    greeting = answer_to(hello)
    async with served(ServiceDouble()) as server, httpx.AsyncClient(trust_env=False) as http:
        accepted = {"Accept": "application/json, text/event-stream"}
        said = await http.post(f"{server.url}/mcp", json=hello.model_dump(), headers=accepted)
    (content,) = [line for line in said.text.splitlines() if line.startswith("data: {")]
    assert greeting is not None and greeting.result == json.loads(content.removeprefix("data: "))["result"]


async def test_the_greeting_of_the_newest_revision_is_word_for_word_what_the_server_says() -> None:
    asked = JSONRPCRequest(jsonrpc="2.0", id=1, method="server/discover", params={"_meta": ENVELOPE})
    greeting = answer_to(asked)
    async with served(ServiceDouble()) as server, httpx.AsyncClient(trust_env=False) as http:
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28"}
        headers["Mcp-Method"] = asked.method
        said = await http.post(f"{server.url}/mcp", json=asked.model_dump(), headers=headers)
    assert greeting is not None and greeting.result == said.json()["result"]


async def test_a_message_that_is_too_large_for_the_orchestrator_is_answered_with_an_error() -> None:
    async with served(ServiceDouble(), max_message_bytes=10_000) as server, piped(*BRIDGE, server.url) as pipe:
        await pipe.shake_hands()
        large = {"name": "submit_job", "arguments": {"workflow_id": "w", "metadata": {"note": "x" * 20_000}}}
        refused = await pipe.ask("tools/call", large, number=2)
        small = await pipe.ask("tools/call", {"name": "list_backends", "arguments": {}}, number=3)
    assert refused["id"] == 2
    assert "413" in refused["error"]["message"]
    assert small["result"]["isError"] is False


def test_lines_end_at_line_feeds_only_and_keep_what_comes_in_pieces() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":') == []
    assert splitter.feed('"\u2028\x85"}\r\nnext\nre'.encode()) == ['{"a":"\u2028\x85"}', "next"]
    assert splitter.feed(b"st\n\n") == ["rest", ""]


def test_a_line_over_the_limit_loses_its_tail_and_the_next_one_is_whole() -> None:
    splitter = LineSplitter(max_bytes=4)
    assert splitter.feed(b"abc") == []
    assert splitter.feed(b"defgh\nijk\n") == ["abcd", "ijk"]
