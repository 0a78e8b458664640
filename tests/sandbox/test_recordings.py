"""The sandbox beside recorded exchanges with ComfyUI 0.3.64: same statuses, same bodies, same messages, same shapes."""

from __future__ import annotations

import base64
import copy
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import websockets

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from orchestrator_mcp.sandbox.catalogue import NODE_CLASSES

FOLDER = os.environ.get("COMFYUI_RECORDINGS", "")

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not FOLDER, reason="COMFYUI_RECORDINGS does not name the folder of the recordings"),
]

RUNS = ("basic", "several_outputs", "runtime_error", "interrupted")
REJECTED = (
    "unknown_class",
    "missing_model",
    "no_outputs",
    "empty",
    "missing_input",
    "bad_link",
    "type_mismatch",
    "too_small",
    "partly_valid",
)
FREE_TEXT = ("traceback", "tooltip", "exception_message", "current_inputs")


def recorded(kind: str) -> Any:
    """Read a recording."""
    return json.loads((Path(FOLDER) / f"comfyui-0.3.64-{kind}.json").read_text())


def shape(value: Any, name: str = "") -> Any:
    """Reduce a value to its fields and types; lists to the shape of what they hold."""
    if name in FREE_TEXT:
        return name
    if isinstance(value, dict):
        return {key: shape(one, key) for key, one in sorted(value.items()) if key != "tooltip"}
    if isinstance(value, list):
        return [name, sorted({json.dumps(shape(one)) for one in value})]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def without_tooltips(value: Any) -> Any:
    """Drop the tooltips, whose words are not protocol."""
    if isinstance(value, dict):
        return {key: without_tooltips(one) for key, one in value.items() if key != "tooltip"}
    if isinstance(value, list):
        return [without_tooltips(one) for one in value]
    return value


async def replay(name: str, run: dict[str, Any]) -> dict[str, Any]:
    """Run a recorded graph and record the same things."""
    async with (
        Sandbox(SandboxOptions(step_ms=20 if name == "interrupted" else 1)).serve() as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        websockets.connect(f"ws://127.0.0.1:{server.port}/ws?clientId=replay", max_size=None) as socket,
    ):
        await socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
        messages = [json.loads(await socket.recv()), json.loads(await socket.recv())]
        body = {
            "prompt": run["graph"],
            "client_id": "replay",
            "extra_data": {"marker": {"job": "example"}},
            "prompt_id": "00000000-0000-4000-8000-000000000001",
        }
        posted = await client.post("/prompt", json=body)
        found: dict[str, Any] = {"POST /prompt": {"status": posted.status_code, "body": posted.json()}}
        while True:
            message = await socket.recv()
            if isinstance(message, bytes):
                frame = {"event": message[3], "length": len(message), "head": message[:400]}
                messages.append({"binary": frame})
                continue
            messages.append(json.loads(message))
            kind, content = messages[-1]["type"], messages[-1]["data"]
            if name == "interrupted" and kind == "executing" and content["node"] == "3":
                found["GET /queue while running"] = (await client.get("/queue")).json()
                answer = await client.post("/interrupt", json={"prompt_id": body["prompt_id"]})
                found["POST /interrupt"] = {"status": answer.status_code, "body": answer.text}
            if kind == "executing" and content["node"] is None:
                break
        found["websocket"] = messages
        found["GET /history/{id}"] = (await client.get(f"/history/{body['prompt_id']}")).json()
        outputs = found["GET /history/{id}"][body["prompt_id"]]["outputs"]
        files = [item for output in outputs.values() for item in output.get("images", ())]
        if "view" in run:
            wanted = run["view"]["headers"]["content-type"]
            for item in files:
                viewed = await client.get("/view", params=item)
                if viewed.headers["content-type"] == wanted:
                    headers = {key: viewed.headers.get(key) for key in run["view"]["headers"]}
                    found["view"] = {"status": viewed.status_code, "headers": headers}
        return found


def story(messages: list[dict[str, Any]]) -> list[str]:
    """Tell a run's messages node by node, so that independent nodes may come in any order."""
    lines = []
    for message in messages:
        if "binary" in message:
            lines.append(f"binary {message['binary']['event']}")
        elif message["type"] == "progress_state":
            node, state = list(message["data"]["nodes"].items())[-1]
            lines.append(f"progress_state {node} {state['state']}")
        elif "node" in message["data"]:
            lines.append(f"{message['type']} {message['data']['node']}")
        else:
            lines.append(message["type"])
    return lines


def per_node(lines: list[str]) -> dict[str, list[str]]:
    """Group the story's lines by node, in order."""
    grouped: dict[str, list[str]] = {}
    for line in lines:
        words = line.split()
        node = words[1] if len(words) > 1 and words[0] != "binary" else ""
        grouped.setdefault(node, []).append(line)
    return grouped


@pytest.mark.parametrize("name", RUNS)
async def test_a_run_looks_as_recorded(name: str) -> None:
    run = recorded("recordings")["runs"][name]
    with anyio.fail_after(30):
        found = await replay(name, copy.deepcopy(run))

    assert shape(found["POST /prompt"]) == shape(run["POST /prompt"])
    assert per_node(story(found["websocket"])) == per_node(story(run["websocket"]))
    assert message_shapes(found["websocket"]) == message_shapes(run["websocket"])
    compare_histories(found["GET /history/{id}"], run["GET /history/{id}"])
    if "view" in run:
        assert shape(found["view"]) == shape(run["view"])
        mark = re.compile(r'"[0-9a-f]{16}-[0-9a-f]+"')
        assert all(mark.fullmatch(one["view"]["headers"]["etag"]) for one in (found, run))
        for header in ("content-type", "content-disposition", "accept-ranges"):
            assert found["view"]["headers"][header] == run["view"]["headers"][header]
    if name == "interrupted":
        assert found["POST /interrupt"] == run["POST /interrupt"]
        assert shape(found["GET /queue while running"]) == shape(run["GET /queue while running"])


def message_shapes(messages: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Collect the shapes of every type of message; states of nodes count one by one."""
    shapes: dict[str, set[str]] = {}
    for message in messages:
        if "binary" in message:
            continue
        content = message["data"]
        if message["type"] == "progress_state":
            content = [list(content), list(content["nodes"].values())]
        if message["type"] == "executed":
            content = [sorted(content), sorted(content["output"])]
        shapes.setdefault(message["type"], set()).add(json.dumps(shape(content)))
    return shapes


def compare_histories(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare two history answers: equal outputs apart from random names, equal shapes elsewhere."""
    (ours,), (theirs,) = found.values(), expected.values()
    assert list(ours) == list(theirs)
    assert ours["prompt"][2] == theirs["prompt"][2]
    assert set(ours["prompt"][3]) == set(theirs["prompt"][3])
    assert sorted(ours["prompt"][4]) == sorted(theirs["prompt"][4])
    assert shape(ours["outputs"]) == shape(theirs["outputs"])
    for node, output in theirs["outputs"].items():
        names = [item.get("filename") for item in output.get("images", ()) if item["type"] == "output"]
        own = ours["outputs"][node]
        assert [item["filename"] for item in own.get("images", ()) if item["type"] == "output"] == names
        assert len(own.get("images", ())) == len(output.get("images", ()))
        assert own.get("text") == output.get("text")
    assert ours["meta"] == theirs["meta"]
    assert {key: ours["status"][key] for key in ("status_str", "completed")} == {
        key: theirs["status"][key] for key in ("status_str", "completed")
    }
    for (event, content), (other_event, other_content) in zip(
        ours["status"]["messages"], theirs["status"]["messages"], strict=True
    ):
        assert event == other_event
        assert shape(content) == shape(other_content)
        for key in ("exception_type", "node_id", "node_type"):
            assert content.get(key) == other_content.get(key)
        for key in ("executed", "current_outputs", "current_inputs"):
            assert sorted(content.get(key, ())) == sorted(other_content.get(key, ()))


async def test_a_text_frame_is_packed_as_recorded() -> None:
    run = recorded("recordings")["runs"]["several_outputs"]
    with anyio.fail_after(30):
        found = await replay("several_outputs", copy.deepcopy(run))
    (theirs,) = [message["binary"] for message in run["websocket"] if "binary" in message]
    (ours,) = [message["binary"] for message in found["websocket"] if "binary" in message]
    assert ours["head"] == base64.b64decode(theirs["head_base64"])
    assert ours["length"] == theirs["length"]


@pytest.mark.parametrize("name", REJECTED)
async def test_a_refusal_has_the_recorded_body(name: str) -> None:
    case = recorded("recordings")["rejected"][name]
    with anyio.fail_after(30):
        async with (
            Sandbox(SandboxOptions(models=())).serve() as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        ):
            answer = await client.post("/prompt", json={"prompt": case["graph"]})
    assert answer.status_code == case["status"]
    assert answer.headers["content-type"] == case["content_type"]
    ours, theirs = without_tooltips(answer.json()), without_tooltips(case["body"])
    for body in (ours, theirs):
        body.pop("prompt_id", None)
        body.pop("number", None)
        for node in body["node_errors"].values():
            node["errors"].sort(key=json.dumps)
            for error in node["errors"]:
                frames = error["extra_info"].pop("traceback", [])
                assert all(isinstance(frame, str) for frame in frames)
    assert ours == theirs


async def test_bodies_that_are_no_prompt_are_answered_as_recorded() -> None:
    recording = recorded("recordings")
    with anyio.fail_after(30):
        async with (
            Sandbox(SandboxOptions()).serve() as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        ):
            broken = await client.post("/prompt", content=b'{"prompt": ')
            without = await client.post("/prompt", json={"something": 1})
            upload = {"image": ("ref.png", b"\x89PNG", "image/png")}
            uploaded = await client.post("/upload/image", files=upload, data={"subfolder": "orch"})
    expected = recording["rejected"]["invalid_json"]
    assert (broken.status_code, broken.headers["content-type"], broken.text) == (
        expected["status"],
        expected["content_type"],
        expected["body"],
    )
    assert {"status": without.status_code, "body": without.json()} == recording["rejected"]["no_prompt_key"]
    assert {"status": uploaded.status_code, "body": uploaded.json()} == recording["POST /upload/image"]


async def test_what_it_says_of_itself_has_the_recorded_shape() -> None:
    recording = recorded("recordings")
    with anyio.fail_after(30):
        async with (
            Sandbox(SandboxOptions(models=())).serve() as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        ):
            for path in ("/features", "/queue", "/prompt", "/embeddings", "/models"):
                for prefix in ("", "/api"):
                    assert (await client.get(prefix + path)).json() == recording[f"GET {path}"]
            stats = (await client.get("/system_stats")).json()
            assert shape(stats) == shape(recording["GET /system_stats"])
            unknown = await client.get("/history/unknown")
    assert {"status": unknown.status_code, "body": unknown.json()} == recording["GET /history/unknown"]


@pytest.mark.parametrize("name", sorted(NODE_CLASSES))
async def test_a_node_class_is_described_as_the_real_one(name: str) -> None:
    theirs = without_tooltips(recorded("object_info")[name])
    ours = without_tooltips(NODE_CLASSES[name].described(lambda source: _listed(source)))
    for words in ("description", "output_tooltips"):
        ours.pop(words, None)
        theirs.pop(words, None)
    for described in (ours, theirs):
        for group in described["input"].values():
            for key, entry in group.items():
                group[key] = [one for one in entry if one != {}] if isinstance(entry, list) else entry
    assert ours == theirs


def _listed(source: str) -> list[str]:
    return {"pictures": ["example.png"], "vae": ["pixel_space"]}.get(source, [])


def test_every_kind_of_message_was_compared() -> None:
    runs = recorded("recordings")["runs"]
    kinds = Counter(message.get("type") for name in RUNS for message in runs[name]["websocket"])
    assert {"execution_error", "execution_interrupted", "execution_success", "executed"} <= set(kinds)
