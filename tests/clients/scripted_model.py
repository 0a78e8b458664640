"""A model's API on loopback that says what a test tells it to, and keeps what it was sent.

It speaks what the hosts speak: Anthropic's Messages API, OpenAI's Responses API and Google's generateContent.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Block = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What a tool gave, as it reached the model."""

    texts: list[str] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


@dataclass(frozen=True)
class Call:
    """A call of one of our tools."""

    tool: str
    arguments: dict[str, Any]


Script = Callable[[dict[str, Given]], Call | str]
"""What the model says next, by what its tools have given so far: a call, or its last word."""


@dataclass
class Model:
    """A model that follows a script.

    Attributes:
        prefix: what the host puts before the names of the server's tools, or calls their group.
        url: of its API.
        tools: the definitions that it was sent, by the tools' own names.
        results: what each tool has given.
    """

    script: Script
    prefix: str
    url: str = ""
    tools: dict[str, Block] = field(default_factory=dict)
    results: dict[str, Given] = field(default_factory=dict)

    def messages(self, request: Block) -> bytes:
        """One turn of the Messages API, as a stream. Requests without our tools (a title) get a word."""
        named = {tool["name"]: tool for tool in request.get("tools", ()) if tool["name"].startswith(self.prefix)}
        said: Call | str = "Yes."
        asked = 0
        if named:
            self.tools = {name.removeprefix(self.prefix): tool for name, tool in named.items()}
            lists = [message["content"] for message in request["messages"] if isinstance(message["content"], list)]
            blocks = [block for blocks in lists for block in blocks]
            calls = {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
            for block in blocks:
                if block["type"] == "tool_result":
                    self.results[calls[block["tool_use_id"]].removeprefix(self.prefix)] = _given(block["content"])
            said, asked = self.script(self.results), len(calls)
        if isinstance(said, Call):
            name = self.prefix + said.tool
            made: Block = {"type": "tool_use", "id": f"toolu_{asked}", "name": name, "input": said.arguments}
        else:
            made = {"type": "text", "text": said}
        return b"".join(_message_events(request["model"], made))

    def responses(self, request: Block) -> bytes:
        """One turn of the Responses API, as a stream; our tools stand in a group."""
        groups = [tool for tool in request["tools"] if tool["type"] == "namespace" and tool["name"] == self.prefix]
        self.tools = {tool["name"]: tool for group in groups for tool in group["tools"]}
        items = request["input"]
        calls = {item["call_id"]: item["name"] for item in items if item["type"] == "function_call"}
        for item in items:
            if item["type"] == "function_call_output":
                self.results[calls[item["call_id"]]] = _given(item["output"])
        said = self.script(self.results)
        if isinstance(said, Call):
            made: Block = {"type": "function_call", "namespace": self.prefix, "name": said.tool}
            made |= {"call_id": f"call_{len(calls)}", "arguments": json.dumps(said.arguments)}
        else:
            made = {"type": "message", "role": "assistant", "id": "message_1"}
            made |= {"content": [{"type": "output_text", "text": said}]}
        return b"".join(_response_events(made))

    def contents(self, request: Block) -> bytes:
        """One turn of generateContent, as a stream of one event; pictures come beside what a call gave, in one turn."""
        declared = [tool for group in request.get("tools", ()) for tool in group.get("functionDeclarations", ())]
        self.tools = {
            tool["name"].removeprefix(self.prefix): tool for tool in declared if tool["name"].startswith(self.prefix)
        }
        for turn in request["contents"]:
            parts = turn["parts"]
            pictures = [base64.b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part]
            for answered in (part["functionResponse"] for part in parts if "functionResponse" in part):
                text = answered["response"]["output"]
                self.results[answered["name"].removeprefix(self.prefix)] = Given([text], pictures)
        said = self.script(self.results)
        if isinstance(said, Call):
            made: Block = {"functionCall": {"name": self.prefix + said.tool, "args": said.arguments}}
        else:
            made = {"text": said}
        answer = {"content": {"role": "model", "parts": [made]}, "finishReason": "STOP", "index": 0}
        return b"data: " + json.dumps({"candidates": [answer]}).encode() + b"\r\n\r\n"


def _given(content: str | list[Block]) -> Given:
    given = Given()
    parts: list[Block] = [{"text": content}] if isinstance(content, str) else content
    for part in parts:
        if "text" in part:
            given.texts.append(part["text"])
        elif part["type"] == "image":
            given.pictures.append(base64.b64decode(part["source"]["data"]))
        elif part["type"] == "input_image":
            given.pictures.append(base64.b64decode(part["image_url"].partition(",")[2]))
    return given


@contextmanager
def scripted_model(script: Script, *, prefix: str) -> Iterator[Model]:
    """Serve a model.

    Args:
        script: what it says.
        prefix: see `Model`.
    """
    model = Model(script, prefix)

    class Api(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._send(b"", "text/plain")

        def do_GET(self) -> None:
            self._send(b"{}", "application/json")

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
            if self.path.endswith("/responses"):
                self._send(model.responses(request), "text/event-stream")
            elif ":streamGenerateContent" in self.path:
                self._send(model.contents(request), "text/event-stream")
            elif ":countTokens" in self.path:
                self._send(b'{"totalTokens": 1}', "application/json")
            elif request.get("stream"):
                self._send(model.messages(request), "text/event-stream")
            else:
                self._send(b'{"input_tokens": 1}', "application/json")

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


def _message_events(name: str, block: Block) -> Iterator[bytes]:
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": name, "content": []}
    used = {"usage": {"input_tokens": 1, "output_tokens": 1}}
    yield _event("message_start", message={**whole, **used, "stop_reason": None, "stop_sequence": None})
    if block["type"] == "tool_use":
        begun, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    else:
        begun, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    yield _event("content_block_start", index=0, content_block=begun)
    yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
    yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 1})
    yield _event("message_stop")


def _response_events(made: Block) -> Iterator[bytes]:
    used = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    yield _event("response.created", response={"id": "response_1"})
    yield _event("response.output_item.done", item=made, output_index=0)
    yield _event("response.completed", response={"id": "response_1", "usage": used})


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
