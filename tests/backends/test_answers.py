"""The other answers of a server: queue, statistics, node definitions, acceptances and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from orchestrator_mcp.backends.catalogue import NodeCatalogue, parse_catalogue
from orchestrator_mcp.backends.queues import parse_queue, parse_queue_remaining, parse_stats, version_tuple
from orchestrator_mcp.backends.rejections import parse_rejection, parse_submission
from orchestrator_mcp.backends.transfers import parse_upload
from orchestrator_mcp.errors import MissingThing
from tests.backends.hostile import documents


def queued(number: float, prompt_id: str, *, job: str | None = None) -> list[Any]:
    return [number, prompt_id, {"3": {}}, {"orchestrator": {"job": job}} if job else {}, ["3"]]


def test_pending_prompts_come_in_the_order_in_which_they_will_run() -> None:
    snapshot = parse_queue(
        {
            "queue_running": [queued(1, "r", job="mine")],
            "queue_pending": [queued(7, "b"), queued(9, "a"), queued(7, "a"), queued(-2, "front")],
        }
    )
    assert [prompt.prompt_id for prompt in snapshot.pending] == ["front", "a", "b", "a"]
    assert snapshot.running[0].marker == {"job": "mine"}
    assert snapshot.pending[0].marker is None
    assert snapshot.find("b") is not None
    assert snapshot.find("z") is None


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"queue_running": []},
        {"queue_running": [], "queue_pending": {}},
        {"queue_running": [], "queue_pending": [[1]]},
        {"queue_running": [["1", "p"]], "queue_pending": []},
        {"queue_running": [], "queue_pending": [None]},
    ],
)
def test_a_queue_that_cannot_be_read_whole_is_not_taken_for_an_empty_one(document: object) -> None:
    with pytest.raises(ValueError, match="it has no queue|has no number and id"):
        parse_queue(document)


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("0.3.64", (0, 3, 64)),
        ("v0.26", (0, 26)),
        ("0.3.57-12-gabc", (0, 3, 57)),
        ("0.38.1+cu130", (0, 38, 1)),
        ("", ()),
        ("unknown", ()),
        ("1.x.3", (1,)),
    ],
)
def test_a_version_is_compared_by_its_leading_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert version_tuple(version) == numbers


def test_statistics_keep_plain_values_only() -> None:
    stats = parse_stats(
        {
            "system": {"comfyui_version": "0.3.64\n", "os": "nt", "argv": ["main.py", "--cpu", 3]},
            "devices": [{"name": "cuda:0 \x1b[0m", "vram_total": 8, "nested": {"a": 1}, "index": None}, "junk"],
        }
    )
    assert stats.version_tuple == (0, 3, 64)
    assert stats.devices == [{"name": "cuda:0  [0m", "vram_total": 8, "index": None}, {}]
    assert stats.argv == ("main.py", "--cpu", "")


CATALOGUE = NodeCatalogue(
    {
        "Loader": {
            "input": {
                "required": {"name": [["a/one.safetensors", "two.safetensors"], {"tooltip": "t"}], "none": [[]]},
                "optional": {"new": ["COMBO", {"options": ["x", "y"]}], "size": ["INT", {"default": 1}]},
            },
            "python_module": "custom_nodes.pack",
            "output_node": True,
        },
        "Windows": {"input": {"required": {"name": [["a\\one.safetensors"]]}}},
        "Open": {
            "input": {
                "required": {
                    "upload": [["a.png"], {"image_upload": True}],
                    "remote": ["COMBO", {"remote": {"route": "/x"}, "options": ["a"]}],
                    "several": ["COMBO", {"multiselect": True, "options": ["a"]}],
                    "single": ["COMBO", {"multiselect": False, "options": ["a"]}],
                    "numbers": [[1, 2]],
                    "dynamic": ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "a"}]}],
                    "odd": "COMBO",
                }
            }
        },
    }
)


@pytest.mark.parametrize(
    ("class_type", "name", "options"),
    [
        ("Loader", "name", ("a/one.safetensors", "two.safetensors")),
        ("Loader", "none", ()),
        ("Loader", "new", ("x", "y")),
        ("Open", "single", ("a",)),
        ("Loader", "size", None),
        ("Loader", "absent", None),
        ("Absent", "name", None),
        ("Open", "upload", None),
        ("Open", "remote", None),
        ("Open", "several", None),
        ("Open", "numbers", None),
        ("Open", "dynamic", None),
        ("Open", "odd", None),
    ],
)
def test_options_are_the_names_of_closed_lists_only(
    class_type: str, name: str, options: tuple[str, ...] | None
) -> None:
    assert CATALOGUE.options(class_type, name) == options


def test_a_model_is_found_under_the_backends_own_spelling() -> None:
    assert CATALOGUE.spelling("Windows", "name", "a/one.safetensors") == "a\\one.safetensors"
    assert CATALOGUE.spelling("Loader", "name", "a\\one.safetensors") == "a/one.safetensors"
    assert CATALOGUE.spelling("Loader", "name", "absent.safetensors") is None


def test_a_class_tells_the_pack_it_comes_from() -> None:
    assert CATALOGUE.python_module("Loader") == "custom_nodes.pack"
    assert CATALOGUE.python_module("Windows") is None
    assert CATALOGUE.is_output("Loader")
    assert not CATALOGUE.is_output("Absent")


def test_a_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CATALOGUE.raw["New"] = {}  # type: ignore[index]


def refusal(error: Any, node_errors: Any = None) -> Any:
    return parse_rejection({"error": error, "node_errors": node_errors or {}}, backend_id="node1")


def node_error(kind: str, details: str, **extra: Any) -> dict[str, Any]:
    error = {"type": kind, "message": "Message", "details": details, "extra_info": extra}
    return {"4": {"class_type": "Loader", "errors": [error], "dependent_outputs": []}}


@pytest.mark.parametrize(
    ("error", "nodes", "missing"),
    [
        (
            {
                "type": "invalid_prompt",
                "message": "Cannot execute because node No Such does not exist.",
                "details": "Node ID '#12:3'",
            },
            {},
            [MissingThing(kind="node", name="No Such", node_id="12:3")],
        ),
        (
            {"type": "missing_node_type", "message": "x", "extra_info": {"class_type": "NoSuch", "node_id": "9"}},
            {},
            [MissingThing(kind="node", name="NoSuch", node_id="9")],
        ),
        (
            {"type": "prompt_outputs_failed_validation", "message": "m"},
            node_error("value_not_in_list", "d", received_value="sub\\a.SAFETENSORS", input_name="ckpt_name"),
            [MissingThing(kind="model", name="sub\\a.SAFETENSORS", node_id="4")],
        ),
        (
            {"type": "prompt_outputs_failed_validation", "message": "m"},
            node_error("value_not_in_list", "d", received_value="res_2s", input_name="sampler_name"),
            [MissingThing(kind="option", name="res_2s", node_id="4")],
        ),
        (
            {"type": "prompt_outputs_failed_validation", "message": "m"},
            node_error("custom_validation_failed", "image - Invalid image file: sub/x.png"),
            [MissingThing(kind="file", name="sub/x.png", node_id="4")],
        ),
        (
            {"type": "prompt_outputs_failed_validation", "message": "m"},
            node_error("value_smaller_than_min", "width", received_value=0),
            [],
        ),
        (
            {"type": "invalid_prompt", "message": "Cannot execute because a node is missing the class_type property."},
            {},
            [],
        ),
    ],
)
def test_a_refusal_says_what_another_backend_may_have(error: Any, nodes: Any, missing: list[MissingThing]) -> None:
    assert list(refusal(error, nodes).missing) == missing


def test_a_refusal_speaks_in_a_line_and_keeps_the_details() -> None:
    nodes = node_error("value_smaller_than_min", "wi\r\ndth", input_name="width")
    raised = refusal({"type": "prompt_outputs_failed_validation", "message": "Failed"}, nodes)
    assert raised.message == "Backend node1 refuses the graph: node 4 (Loader): Message: wi  dth."
    assert raised.details["node_errors"] == [
        {
            "node_id": "4",
            "class_type": "Loader",
            "errors": [
                {"type": "value_smaller_than_min", "message": "Message", "details": "wi  dth", "input_name": "width"}
            ],
        }
    ]


@pytest.mark.parametrize("document", [None, {}, {"error": {}}, {"error": 7}, {"error": {"type": 3}}, []])
def test_what_is_no_refusal_of_comfyui_is_not_read_as_one(document: object) -> None:
    assert parse_rejection(document, backend_id="node1") is None


@pytest.mark.parametrize("document", [None, {}, {"prompt_id": 7}, {"prompt_id": ""}, {"prompt_id": "a\nb"}, []])
def test_an_acceptance_without_an_id_is_none(document: object) -> None:
    with pytest.raises(ValueError, match="no prompt_id"):
        parse_submission(document)


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"name": "a.png", "subfolder": "", "type": "input"}, "a.png"),
        ({"name": "a (1).png", "subfolder": "orch"}, "orch/a (1).png"),
    ],
)
def test_an_upload_is_loaded_by_folder_and_name(document: object, name: str) -> None:
    assert parse_upload(document) == name


@pytest.mark.parametrize("document", [None, {}, {"name": 7}, {"name": "a\n"}, {"name": "a", "subfolder": ["b"]}])
def test_an_upload_without_a_name_is_none(document: object) -> None:
    with pytest.raises(ValueError, match="names no file"):
        parse_upload(document)


@given(document=documents)
def test_no_answer_makes_a_reader_crash(document: Any) -> None:
    for parse in (parse_queue, parse_queue_remaining, parse_stats, parse_catalogue, parse_submission, parse_upload):
        try:
            parse(document)
        except ValueError:
            continue
    rejection = parse_rejection(document, backend_id="node1")
    assert rejection is None or rejection.message.isprintable()


@given(error=documents, nodes=documents)
def test_no_refusal_makes_the_reader_crash(error: Any, nodes: Any) -> None:
    rejection = parse_rejection({"error": error, "node_errors": nodes}, backend_id="node1")
    assert rejection is None or rejection.message.isprintable()


@given(definition=documents)
def test_no_node_definition_makes_the_catalogue_crash(definition: Any) -> None:
    catalogue = NodeCatalogue({"prompt": definition if isinstance(definition, dict) else {"input": definition}})
    catalogue.options("prompt", "1")
    catalogue.python_module("prompt")
