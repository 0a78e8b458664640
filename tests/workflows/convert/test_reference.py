"""Conversion against graphs that ComfyUI's own page exported, for files that packages carry.

`COMFYUI_CONVERSION_REFERENCE` names a JSON file `{"cases": [{"package", "version", "file", "api"}]}`,
`COMFYUI_OBJECT_INFO` the `/object_info` of the server on which they were exported, and `COMFYUI_TEMPLATES` a folder
into which the packages are installed (`pip install --target FOLDER --no-deps …`), or a folder of such folders.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.errors import CallerError
from orchestrator_mcp.workflows.convert import convert, looks_like_ui

NAMES = ("COMFYUI_CONVERSION_REFERENCE", "COMFYUI_OBJECT_INFO", "COMFYUI_TEMPLATES")
MISSING = [name for name in NAMES if not os.environ.get(name)]
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(bool(MISSING), reason=f"not set: {', '.join(MISSING)}"),
]


def document(name: str) -> Any:
    return json.loads(Path(os.environ[name]).read_text(encoding="utf-8"))


def roots() -> list[Path]:
    top = Path(os.environ["COMFYUI_TEMPLATES"])
    return [top, *sorted(path for path in top.iterdir() if path.is_dir())]


def find(case: dict[str, Any]) -> Path:
    """The case's file; where several versions lie side by side, that of its version."""
    found = [root / str(case["file"]) for root in roots() if (root / str(case["file"])).is_file()]
    fitting = [path for path in found if case["version"] in str(path)]
    assert found, f"{case['package']} {case['version']} is not installed: {case['file']}"
    return (fitting or found)[0]


def bare(graph: dict[str, Any]) -> dict[str, Any]:
    return {key: {name: each for name, each in node.items() if name != "_meta"} for key, node in graph.items()}


def test_every_reference_file_becomes_the_graph_that_the_page_exports() -> None:
    catalogue = document("COMFYUI_OBJECT_INFO")
    cases = document("COMFYUI_CONVERSION_REFERENCE")["cases"]
    assert cases
    wrong = []
    for case in cases:
        saved = json.loads(find(case).read_text(encoding="utf-8"))
        if bare(convert(saved, catalogue).graph) != bare(case["api"]):
            wrong.append(case["file"])
    assert wrong == []


def test_no_file_of_the_packages_is_a_crash() -> None:
    catalogue = document("COMFYUI_OBJECT_INFO")
    seen = 0
    for path in sorted(Path(os.environ["COMFYUI_TEMPLATES"]).rglob("*.json")):
        saved = json.loads(path.read_text(encoding="utf-8"))
        seen += looks_like_ui(saved)
        try:
            convert(saved, catalogue)
        except CallerError as error:
            assert str(error), path
    assert seen
