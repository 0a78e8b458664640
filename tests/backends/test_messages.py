"""Frames of the WebSocket: each kind is read, and nothing makes the reader raise."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    NodeFinished,
    NodeProgress,
    NodeProgressed,
    NodesCached,
    NodeStarted,
    PreviewReceived,
    PromptFailed,
    PromptFinished,
    PromptInterrupted,
    PromptStarted,
    PromptSucceeded,
    StatusChanged,
    TextReceived,
    parse_message,
)
from tests.backends.hostile import WORDS, documents


def frame(kind: str, **said: Any) -> str:
    return json.dumps({"type": kind, "data": said})


def binary(event: int, body: bytes) -> bytes:
    return struct.pack(">I", event) + body


def prefixed(head: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(head)) + head + body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            frame("status", status={"exec_info": {"queue_remaining": 2}}, sid="me"),
            StatusChanged(queue_remaining=2, sid="me"),
        ),
        (frame("execution_start", prompt_id="p", timestamp=7), PromptStarted(prompt_id="p", at_ms=7)),
        (frame("execution_cached", prompt_id="p", nodes=["1", 2]), NodesCached(prompt_id="p", nodes=("1",))),
        (
            frame("executing", prompt_id="p", node="2.0.1", display_node="2"),
            NodeStarted(prompt_id="p", node="2.0.1", shown_as="2"),
        ),
        (frame("executing", prompt_id="p", node=None), PromptFinished(prompt_id="p")),
        (
            frame("progress", prompt_id="p", node="3", value=1.5, max=20),
            NodeProgressed(prompt_id="p", node="3", value=1.5, maximum=20.0),
        ),
        (
            frame("progress_state", prompt_id="p", nodes={"3": {"value": 1, "max": 4, "state": "running"}, "4": None}),
            GraphProgressed(prompt_id="p", nodes={"3": NodeProgress("running", 1.0, 4.0)}),
        ),
        (frame("execution_success", prompt_id="p", timestamp=9), PromptSucceeded(prompt_id="p", at_ms=9)),
        (frame("execution_interrupted", prompt_id="p", node_id="3"), PromptInterrupted(prompt_id="p", node="3")),
        (frame("executed", prompt_id="p", node="3", output=None), NodeFinished(prompt_id="p", node="3")),
    ],
)
def test_a_text_frame_is_read(text: str, expected: object) -> None:
    assert parse_message(text) == expected


def test_a_node_that_finished_declares_its_outputs_as_history_does() -> None:
    said = {"images": [{"filename": "a.png", "subfolder": "s", "type": "output"}]}
    message = parse_message(frame("executed", prompt_id="p", node="9.0", display_node="9", output=said))
    assert isinstance(message, NodeFinished)
    (output,) = message.outputs
    assert (output.node_id, output.source_node, output.filename, output.subfolder) == ("9", "9.0", "a.png", "s")


def test_a_failure_carries_the_servers_words_and_not_the_tensors() -> None:
    message = parse_message(
        frame(
            "execution_error",
            prompt_id="p",
            node_id="4",
            node_type="KSampler",
            exception_type="torch.OutOfMemoryError",
            exception_message="Allocation on device\n\x1b[31mThis error means you ran out of memory",
            traceback=["  File a\n", "  File b\n", 7],
            current_inputs={"x": ["tensor" * 1_000]},
        )
    )
    assert isinstance(message, PromptFailed)
    assert message.failure.message == "Allocation on device  [31mThis error means you ran out of memory"
    assert message.failure.traceback == "  File a\n  File b\n"
    assert "tensor" not in repr(message)


def test_a_blocked_branch_does_not_end_the_prompt() -> None:
    assert parse_message(frame("execution_error", prompt_id="p", exception_type="ExecutionBlocked")) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (binary(1, struct.pack(">I", 1) + b"jpeg"), PreviewReceived(media_type="image/jpeg", image=b"jpeg")),
        (binary(1, struct.pack(">I", 2) + b"png"), PreviewReceived(media_type="image/png", image=b"png")),
        (binary(3, prefixed(b"7", "größe: 3".encode())), TextReceived(node="7", text="größe: 3")),
        (
            binary(
                4,
                prefixed(b'{"image_type":"image/webp","prompt_id":"p","node_id":"2.1","display_node_id":"2"}', b"webp"),
            ),
            PreviewReceived(media_type="image/webp", image=b"webp", prompt_id="p", node="2"),
        ),
    ],
)
def test_a_binary_frame_is_read(content: bytes, expected: object) -> None:
    assert parse_message(content) == expected


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[" * 100_000,
        "7",
        frame("execution_start"),
        frame("execution_start", prompt_id=7),
        frame("execution_start", prompt_id="p\x00"),
        frame("executing", node="4"),
        frame("executing", prompt_id="p"),
        frame("progress", prompt_id="p", value="1", max=2),
        '{"type":"progress","data":{"prompt_id":"p","value":NaN,"max":1}}',
        frame("progress_state", prompt_id="p", nodes=[]),
        frame("status", status={"exec_info": {"queue_remaining": -1}}),
        frame("crystools.monitor", gpus=[]),
        b"",
        b"\x00\x00\x00",
        binary(1, b""),
        binary(1, struct.pack(">I", 9) + b"x"),
        binary(2, b"never on the wire"),
        binary(3, struct.pack(">I", 2**32 - 1) + b"x"),
        binary(3, prefixed(b"", b"text")),
        binary(4, prefixed(b"{}", b"")),
        binary(4, prefixed(b"{}", b"x")),
        binary(4, prefixed(b'{"image_type":["image/png"]}', b"x")),
        binary(4, prefixed(b'{"image_type":"text/html"}', b"x")),
        binary(4, prefixed(b"\xff\xfe", b"x")),
    ],
)
def test_what_cannot_be_read_is_nothing(content: str | bytes) -> None:
    assert parse_message(content) is None


@given(said=documents, kind=st.sampled_from(WORDS) | st.integers())
def test_no_text_frame_makes_the_reader_raise(said: Any, kind: object) -> None:
    said = {**said, "prompt_id": "p"} if isinstance(said, dict) else said
    parse_message(json.dumps({"type": kind, "data": said}))


@given(text=st.text(max_size=50))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    parse_message(text)


@given(event=st.integers(0, 5), body=st.binary(max_size=60))
def test_no_binary_frame_makes_the_reader_raise(event: int, body: bytes) -> None:
    parse_message(binary(event, body))


@given(said=documents, image=st.binary(max_size=5))
def test_no_preview_metadata_makes_the_reader_raise(said: Any, image: bytes) -> None:
    parse_message(binary(4, prefixed(json.dumps(said).encode(), image)))
