"""The readers beside recorded exchanges with ComfyUI 0.3.64."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.backends.catalogue import parse_catalogue
from orchestrator_mcp.backends.history import chosen_outputs, parse_history
from orchestrator_mcp.backends.messages import PromptFinished, PromptStarted, StatusChanged, TextReceived, parse_message
from orchestrator_mcp.backends.progress import ProgressMeter
from orchestrator_mcp.backends.queues import parse_queue, parse_queue_remaining, parse_stats
from orchestrator_mcp.backends.rejections import parse_rejection, parse_submission
from orchestrator_mcp.backends.transfers import parse_upload

FOLDER = os.environ.get("COMFYUI_RECORDINGS", "")
NOT_FOR_US = "feature_flags"

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not FOLDER, reason="COMFYUI_RECORDINGS does not name the folder of the recordings"),
]


def recorded(kind: str) -> Any:
    return json.loads((Path(FOLDER) / f"comfyui-0.3.64-{kind}.json").read_text())


@pytest.fixture(scope="module")
def recordings() -> Any:
    return recorded("recordings")


def frame_of(said: dict[str, Any]) -> str | bytes:
    return base64.b64decode(said["binary"]["head_base64"]) if "binary" in said else json.dumps(said)


@pytest.mark.parametrize(
    ("run", "verdict", "files"),
    [
        ("basic", "succeeded", ["basic_00001_.png"]),
        (
            "several_outputs",
            "succeeded",
            ["", "anim_00001_.webp", "several_00001_.png", "several_00002_.png", "several_00003_.png"],
        ),
        ("runtime_error", "errored", ["ok_00001_.png"]),
        ("interrupted", "interrupted", []),
        ("video", "succeeded", ["video_00001_.mp4"]),
    ],
)
def test_a_recorded_history_is_understood(recordings: Any, run: str, verdict: str, files: list[str]) -> None:
    document = recordings["runs"][run]["GET /history/{id}"]
    entry = parse_history(document, next(iter(document)))
    assert entry is not None
    assert entry.verdict == verdict
    assert sorted(output.filename for output in chosen_outputs(entry)) == files
    assert entry.unreadable == 0
    assert (entry.failure is not None) == (verdict == "errored")
    assert entry.ended_at_ms is not None


@pytest.mark.parametrize("run", ["basic", "several_outputs", "runtime_error", "interrupted", "video"])
def test_every_recorded_message_is_understood(recordings: Any, run: str) -> None:
    said = recordings["runs"][run]["websocket"]
    meter = ProgressMeter(recordings["runs"][run]["graph"])
    heard = [(one, parse_message(frame_of(one))) for one in said]
    assert {one.get("type") for one, message in heard if message is None} <= {NOT_FOR_US}
    fractions = [meter.update(message).fraction for _, message in heard if message is not None]
    kinds = [type(message) for _, message in heard]
    assert fractions == sorted(fractions)
    assert kinds.index(StatusChanged) < kinds.index(PromptStarted) < kinds.index(PromptFinished)
    assert (fractions[-1] == 1.0) == (run in ("basic", "several_outputs", "video"))
    assert (TextReceived in kinds) == (run == "several_outputs")


@pytest.mark.parametrize(
    ("case", "missing"),
    [
        ("unknown_class", ["node NoSuchNode 9"]),
        ("missing_model", ["model nope.safetensors 4"]),
        ("no_outputs", []),
        ("empty", []),
        ("missing_input", []),
        ("bad_link", []),
        ("type_mismatch", []),
        ("too_small", []),
        ("no_prompt_key", []),
    ],
)
def test_a_recorded_refusal_is_understood(recordings: Any, case: str, missing: list[str]) -> None:
    rejection = parse_rejection(recordings["rejected"][case]["body"], backend_id="node1")
    assert rejection is not None
    assert [f"{thing.kind} {thing.name} {thing.node_id}" for thing in rejection.missing] == missing


def test_a_recorded_partial_acceptance_names_the_dropped_output(recordings: Any) -> None:
    submission = parse_submission(recordings["rejected"]["partly_valid"]["body"])
    assert [node["node_id"] for node in submission.node_errors] == ["7"]


def test_the_other_recorded_answers_are_understood(recordings: Any) -> None:
    assert parse_stats(recordings["GET /system_stats"]).version_tuple == (0, 3, 64)
    assert parse_queue_remaining(recordings["GET /prompt"]) == 0
    assert parse_queue(recordings["GET /queue"]).running == ()
    (running,) = parse_queue(recordings["runs"]["interrupted"]["GET /queue while running"]).running
    assert running.outputs == ("4",)
    assert parse_upload(recordings["POST /upload/image"]["body"]) == "orch/ref.png"
    assert parse_history(recordings["GET /history/unknown"]["body"], "unknown") is None


def test_the_recorded_node_definitions_are_understood() -> None:
    catalogue = parse_catalogue(recorded("object_info"))
    assert len(catalogue) > 400
    assert catalogue.options("CheckpointLoaderSimple", "ckpt_name") == ()
    assert catalogue.options("SaveVideo", "format") == ("auto", "mp4")
    assert catalogue.options("LoadImage", "image") is None
    assert catalogue.python_module("SaveVideo") == "comfy_extras.nodes_video"
