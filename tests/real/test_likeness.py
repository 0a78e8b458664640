"""The sandbox beside a real ComfyUI: the same graphs, and our client reads the same out of both."""

from __future__ import annotations

import copy
import uuid
from collections import Counter
from typing import Any

import anyio
import pytest

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.messages import Message
from orchestrator_mcp.errors import PromptRejectedError
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from orchestrator_mcp.settings import BackendSettings
from tests.backends.talk import ended, heard_until_finished, new_id, send
from tests.partners import picture_graph, text_to_image
from tests.real.graphs import Graph, blurred, every_kind, own_prefix
from tests.real.partner import WAIT, client_of, needs_server, standing

pytestmark = [*needs_server, pytest.mark.usefixtures("keeps_ids")]


def changed(node: str, **inputs: Any) -> Graph:
    graph = picture_graph()
    graph[node]["inputs"].update(inputs)
    return graph


def without(node: str, name: str) -> Graph:
    graph = picture_graph()
    del graph[node]["inputs"][name]
    return graph


def scaled(**inputs: Any) -> Graph:
    graph = picture_graph()
    size = {"image": ["1", 0], "upscale_method": "bilinear", "width": 32, "height": 32, "crop": "disabled"}
    graph["2"] = {"class_type": "ImageScale", "inputs": {**size, **inputs}}
    return graph


REFUSED: dict[str, Graph] = {
    "too small": changed("1", width=0),
    "too big": changed("1", width=1_000_000),
    "no number": changed("1", width="wide"),
    "nothing": changed("1", width=None),
    "two things wrong": changed("1", width=0, height="high"),
    "input missing": without("1", "height"),
    "two inputs missing": {**picture_graph(), "1": {"class_type": "EmptyImage", "inputs": {}}},
    "link to nowhere": changed("3", images=["99", 0]),
    "link to no output": changed("3", images=["2", 7]),
    "link with three parts": changed("3", images=["2", 0, 0]),
    "link of another type": changed("1", width=["2", 0]),
    "no such choice": scaled(upscale_method="magic"),
    "no such picture": {**picture_graph(), "1": {"class_type": "LoadImage", "inputs": {"image": "none-such.png"}}},
    "a number for a picture": {**picture_graph(), "1": {"class_type": "LoadImage", "inputs": {"image": 3}}},
    "no such model": text_to_image(checkpoint="none-such.safetensors"),
    "no such class": {**picture_graph(), "9": {"class_type": "NoSuchNodeAnywhere", "inputs": {}}},
    "no class": {**picture_graph(), "9": {"inputs": {}}},
    "no outputs": {"1": picture_graph()["1"]},
}
RENDERED: dict[str, Graph] = {
    "a picture": picture_graph(),
    "every kind": every_kind(),
    "text for a number": changed("1", width="48"),
    "a wrapped value": changed("1", width={"__value__": 48}),
    "an unknown input": changed("1", nonsense=1),
    "a list of pictures": blurred(3, size=32),
    "scaled by one side": scaled(height=0),
    "outside the output folder": changed("3", filename_prefix="../../escape"),
    "previews": {
        "1": picture_graph()["1"],
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    },
    "partly wrong": {
        **picture_graph(),
        "4": {"class_type": "EmptyImage", "inputs": {"width": 0, "height": 8, "batch_size": 1, "color": 1}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "part"}},
    },
}


def with_own_prefixes(graph: Graph) -> Graph:
    """Nothing of it may come from a cache of an earlier run, nor lie in a file that one wrote."""
    graph = copy.deepcopy(graph)
    colour = uuid.uuid4().int % 0xFFFFFF
    for node in graph.values():
        if "color" in node["inputs"]:
            node["inputs"]["color"] = colour
        prefix = node["inputs"].get("filename_prefix")
        if prefix is not None and ".." not in prefix:
            node["inputs"]["filename_prefix"] = own_prefix()
    return graph


async def refusal_of(client: ComfyClient, graph: Graph) -> dict[str, Any]:
    with anyio.fail_after(WAIT), pytest.raises(PromptRejectedError) as refused:
        await send(client, graph)
    found = [
        (node["node_id"], node["class_type"], error["type"], error["input_name"], error["message"])
        for node in refused.value.details["node_errors"]
        for error in node["errors"]
    ]
    missing = [(thing.kind, thing.name, thing.node_id) for thing in refused.value.missing]
    return {"nodes": sorted(found, key=str), "missing": sorted(missing)}


async def story_of(client: ComfyClient, graph: Graph) -> dict[str, Any]:
    """What the client reads about a render; names that are drawn, and the order of equals, are left out."""
    client_id, prompt_id = uuid.uuid4().hex, new_id()
    with anyio.fail_after(WAIT):
        async with client.listen(client_id) as messages:
            submission = await client.submit(graph, prompt_id=prompt_id, client_id=client_id, marker={"job": "j"})
            heard = await heard_until_finished(messages, prompt_id)
        entry = await ended(client, prompt_id)
    failure = entry.failure
    return {
        "node_errors": sorted(node["node_id"] for node in submission.node_errors),
        "verdict": entry.verdict,
        "outputs": Counter((o.node_id, o.key, o.kind, o.type, o.text, o.animated) for o in entry.outputs),
        "failure": failure and (failure.node_id, failure.node_type, failure.exception_type),
        "words": failure and failure.message.splitlines()[0].split(".")[0],
        "expected": sorted(entry.expected_outputs),
        "cached": entry.cached_nodes,
        "marker": entry.marker,
        "heard": Counter(said_by(message) for message in heard if said_by(message) is not None),
    }


def said_by(message: Message) -> tuple[str, str | None] | None:
    kind = type(message).__name__
    if kind in ("StatusChanged", "GraphProgressed"):
        return None  # as often as it takes
    return kind, getattr(message, "node", None)


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_a_graph_is_refused_for_the_same_reasons(name: str) -> None:
    async with Sandbox(SandboxOptions(models=())).serve() as server:
        near = BackendSettings(id="real", host="127.0.0.1", port=server.port)
        async with client_of(near) as sandbox, client_of(standing()) as real:
            graph = REFUSED[name]
            assert await refusal_of(sandbox, copy.deepcopy(graph)) == await refusal_of(real, copy.deepcopy(graph))


@pytest.mark.parametrize("name", sorted(RENDERED))
async def test_a_render_is_told_in_the_same_way(name: str) -> None:
    async with Sandbox(SandboxOptions(models=(), step_ms=1)).serve() as server:
        near = BackendSettings(id="real", host="127.0.0.1", port=server.port)
        async with client_of(near) as sandbox, client_of(standing()) as real:
            graph = with_own_prefixes(RENDERED[name])
            assert await story_of(sandbox, graph) == await story_of(real, graph)
