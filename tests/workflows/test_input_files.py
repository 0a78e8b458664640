from __future__ import annotations

from typing import Any

import pytest

from orchestrator_mcp.domain.assets import fits
from orchestrator_mcp.domain.chains import JobInput
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.workflows.input_files import file_inputs, targets_of, with_files
from orchestrator_mcp.workflows.input_types import InputTypes

SHA = "ab" * 32
GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "2": {"class_type": "LoadImageMask", "inputs": {"image": "b.png", "channel": "red"}},
    "3": {"class_type": "PackLoadFilm", "inputs": {"film": "c.mp4", "frames": 8}},
    "4": {"class_type": "PackCompare", "inputs": {"reference": "d.png", "image": ["1", 0]}},
}
FILMS = InputTypes([{"PackLoadFilm": {"input": {"required": {"film": [["c.mp4"], {"video_upload": True}]}}}}])


def test_comfyuis_own_loaders_are_known_without_any_backend() -> None:
    assert file_inputs(GRAPH) == {"1.image": "image", "2.image": "mask"}


def test_a_backend_tells_which_inputs_of_its_packs_take_uploads() -> None:
    assert file_inputs(GRAPH, (), FILMS) == {"1.image": "image", "2.image": "mask", "3.film": "video"}


def test_a_declared_type_makes_any_text_an_input_file() -> None:
    declared = [ParameterView(name="look", type="image", targets=["4.reference"])]
    assert file_inputs(GRAPH, declared)["4.reference"] == "image"
    assert targets_of(GRAPH, declared, ["look", "2.image", "nothing"]) == {
        "look": ("4.reference",),
        "2.image": ("2.image",),
        "nothing": (),
    }


def test_files_stand_in_the_graph_under_their_hash_or_as_a_backend_called_them() -> None:
    inputs = [
        JobInput(target="1.image", sha256=SHA, extension="png"),
        JobInput(target="3.film", sha256=SHA, extension=""),
    ]
    assert with_files(GRAPH, inputs)["1"]["inputs"] == {"image": f"{SHA}.png"}
    assert with_files(GRAPH, inputs)["3"]["inputs"] == {"film": SHA, "frames": 8}
    assert with_files(GRAPH, inputs, {SHA: "x (1).png"})["1"]["inputs"] == {"image": "x (1).png"}
    assert GRAPH["1"]["inputs"] == {"image": "a.png"}


@pytest.mark.parametrize(
    ("kind", "wanted", "fitting"),
    [
        ("image", "image", True),
        ("image", "mask", True),
        ("image", "audio", False),
        ("video", "image", False),
        ("video", "audio", True),
        ("audio", "video", False),
        ("text", "image", False),
        ("text", "any", False),
        ("audio", "any", True),
    ],
)
def test_an_input_takes_what_its_loader_can_open(kind: str, wanted: str, fitting: bool) -> None:
    assert fits(kind, wanted) is fitting
