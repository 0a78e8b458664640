"""A model's API on loopback that says what a test tells it to, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Block = dict[str, Any]
Script = Callable[[dict[str, Block]], Block]
"""What the model says next: a content block, by the results that its tools have given so far."""


@dataclass
class Model:
    """A model that follows a script.

    Attributes:
        url: of its API.
        tools: the definitions that it was sent, by name.
        results: what each tool has given, as the model received it.
    """

    script: Script
    prefix: str
    url: str = ""
    tools: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Block] = field(default_factory=dict)

    def answer(self, request: dict[str, Any]) -> list[Block]:
        """One turn. Requests without our tools (a title, a summary) get a word."""
        named = {
            tool["name"]: tool for tool in request.get("tools", ()) if tool.get("name", "").startswith(self.prefix)
        }
        if not named:
            return [{"type": "text", "text": "Yes."}]
        self.tools = named
        blocks = [
            block
            for message in request["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
        ]
        calls = {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
        for block in blocks:
            if block["type"] == "tool_result":
                self.results[calls[block["tool_use_id"]].removeprefix(self.prefix)] = block
        said = self.script(self.results)
        if said["type"] == "tool_use":
            said = {**said, "id": f"toolu_{len(calls)}", "name": self.prefix + said["name"]}
        return [said]


@contextmanager
def scripted_model(script: Script, *, prefix: str) -> Iterator[Model]:
    """Serve a model with Anthropic's Messages API.

    Args:
        script: what it says.
        prefix: what the host puts before the names of the server's tools.
    """
    model = Model(script, prefix)

    class Api(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._send(b"", "text/plain")

        def do_GET(self) -> None:
            self._send(b"{}", "application/json")

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
            if "messages" not in request or "count_tokens" in self.path:
                self._send(b'{"input_tokens": 1}', "application/json")
                return
            blocks = model.answer(request)
            whole = _message(request["model"], blocks)
            if request.get("stream"):
                self._send(b"".join(_events(whole)), "text/event-stream")
            else:
                self._send(json.dumps(whole).encode(), "application/json")

        def _send(self, body: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        model.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield model
        finally:
            server.shutdown()
            thread.join()


def _message(name: str, blocks: list[Block]) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": name,
        "content": blocks,
        "stop_reason": "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _events(whole: dict[str, Any]) -> Iterator[bytes]:
    yield _event("message_start", message={**whole, "content": [], "stop_reason": None})
    for index, block in enumerate(whole["content"]):
        if block["type"] == "tool_use":
            begun, delta = (
                {**block, "input": {}},
                {"type": "input_json_delta", "partial_json": json.dumps(block["input"])},
            )
        else:
            begun, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        yield _event("content_block_start", index=index, content_block=begun)
        yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage={"output_tokens": 1})
    yield _event("message_stop")


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
