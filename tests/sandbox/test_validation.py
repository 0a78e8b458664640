"""What is refused, and with which words."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from tests.partners import picture_graph, text_to_image


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    """Change some inputs of the plain picture graph."""
    graph = picture_graph()
    graph[node]["inputs"] |= inputs
    return graph


async def errors_of(client: httpx.AsyncClient, graph: dict[str, Any]) -> dict[str, list[str]]:
    """Post a graph that must be refused, and list the kinds of error by node."""
    with anyio.fail_after(10):
        answer = await client.post("/prompt", json={"prompt": graph})
    assert answer.status_code == 400, answer.text
    return {node: [error["type"] for error in one["errors"]] for node, one in answer.json()["node_errors"].items()}


@pytest.mark.parametrize(
    ("node", "inputs", "kind"),
    [
        ("1", {"width": 20000}, "value_bigger_than_max"),
        ("1", {"width": "wide"}, "invalid_input_type"),
        ("1", {"width": float("inf")}, "invalid_input_type"),
        ("1", {"width": None}, "invalid_input_type"),
        ("2", {"image": ["1"]}, "bad_linked_input"),
        ("2", {"image": ["1", 7]}, "exception_during_inner_validation"),
        ("2", {"image": [1, 0]}, "exception_during_inner_validation"),
    ],
)
async def test_each_kind_of_wrong_input_has_its_word(
    client: httpx.AsyncClient, node: str, inputs: dict[str, Any], kind: str
) -> None:
    with anyio.fail_after(10):
        answer = await client.post("/prompt", content=json.dumps({"prompt": changed(node, **inputs)}))
    assert answer.status_code == 400
    assert answer.json()["node_errors"][node]["errors"][0]["type"] == kind


async def test_a_number_for_a_picture_breaks_the_check_of_the_loader(client: httpx.AsyncClient) -> None:
    graph = picture_graph() | {"1": {"class_type": "LoadImage", "inputs": {"image": 3}}}
    assert await errors_of(client, graph) == {"1": ["exception_during_inner_validation"]}


async def test_numbers_written_as_text_are_taken_and_converted(client: httpx.AsyncClient) -> None:
    with anyio.fail_after(10):
        answer = await client.post("/prompt", json={"prompt": changed("1", width="64", height=64.9)})
    assert answer.status_code == 200


async def test_a_cycle_is_refused_without_a_reason(client: httpx.AsyncClient) -> None:
    graph = changed("2", image=["4", 0]) | {"4": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}}}
    assert await errors_of(client, graph) == {}


async def test_an_error_upstream_is_told_once_and_names_every_output_that_needs_it(
    client: httpx.AsyncClient,
) -> None:
    graph = changed("1", width=0) | {"p": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}}
    with anyio.fail_after(10):
        body = (await client.post("/prompt", json={"prompt": graph})).json()
    assert list(body["node_errors"]) == ["1"]
    assert body["node_errors"]["1"]["dependent_outputs"] == ["3", "p"]
    assert body["error"]["details"] == ""


async def test_a_long_list_of_options_is_not_sent_back(client: httpx.AsyncClient) -> None:
    graph = text_to_image()
    graph["3"]["inputs"]["sampler_name"] = "magic"
    with anyio.fail_after(10):
        body = (await client.post("/prompt", json={"prompt": graph})).json()
    (error,) = body["node_errors"]["3"]["errors"]
    assert error["details"] == "sampler_name: 'magic' not in (list of length 42)"
    assert error["extra_info"]["input_config"] is None


async def test_only_targeted_outputs_run_and_no_target_is_an_error(client: httpx.AsyncClient) -> None:
    graph = picture_graph() | {"p": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}}
    with anyio.fail_after(10):
        body = {"prompt": graph, "partial_execution_targets": ["p"]}
        prompt_id = (await client.post("/prompt", json=body)).json()["prompt_id"]
        while not (history := (await client.get(f"/history/{prompt_id}")).json()):
            await anyio.lowlevel.checkpoint()
        nothing = await client.post("/prompt", json={**body, "partial_execution_targets": ["2"]})
    assert list(history[prompt_id]["outputs"]) == ["p"]
    assert nothing.json()["error"]["type"] == "prompt_no_outputs"


async def test_a_chain_too_deep_to_check_is_refused_and_the_server_goes_on(client: httpx.AsyncClient) -> None:
    graph = picture_graph()
    for number in range(3000):
        source = ["2" if number == 0 else f"c{number - 1}", 0]
        graph[f"c{number}"] = {"class_type": "ImageInvert", "inputs": {"image": source}}
    graph["3"]["inputs"]["images"] = ["c2999", 0]
    with anyio.fail_after(20):
        assert (await client.post("/prompt", json={"prompt": graph})).status_code == 400
        assert (await client.get("/prompt")).json() == {"exec_info": {"queue_remaining": 0}}
