"""The library over workflows that must be converted: by which backend, when again, and what is no workflow at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.domain.views import WorkflowView
from orchestrator_mcp.errors import ManifestError, NotFoundError
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows import library_reading as module
from orchestrator_mcp.workflows.library import WorkflowLibrary
from tests.pages import film, picture
from tests.workflows.convert.drawing import CATALOGUE, Saved, chain, define
from tests.workflows.graphs import node, text_to_image

SHORT = {name: made for name, made in CATALOGUE.items() if name != "Filter"}


class Farm:
    """Backends that a test lets come and go."""

    def __init__(self, **backends: Saved) -> None:
        self.backends = {name: NodeCatalogue(made) for name, made in backends.items()}

    def __call__(self) -> dict[str, NodeCatalogue]:
        return dict(self.backends)

    def tell(self, **backends: Saved) -> None:
        """Backends answer; one that was known answers anew."""
        self.backends |= {name: NodeCatalogue(made) for name, made in backends.items()}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read."""
    found: list[Path] = []
    original: Callable[..., Any] = module._held_by

    def counted(path: Path, limits: LimitSettings) -> Any:
        found.append(path)
        return original(path, limits)

    monkeypatch.setattr(module, "_held_by", counted)
    return found


def write(path: Path, content: Any) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


async def listed(one: WorkflowLibrary) -> dict[str, WorkflowView]:
    with anyio.fail_after(10):
        return {view.id: view for view in await one.list()}


def library(folder: Path, farm: Farm) -> WorkflowLibrary:
    return WorkflowLibrary([folder], LimitSettings, farm)


async def test_without_a_backend_it_says_so_and_is_looked_at_again_when_one_is_known(
    tmp_path: Path, reads: list[Path]
) -> None:
    write(tmp_path / "page.json", chain())
    farm = Farm()
    one = library(tmp_path, farm)
    assert "no backend has answered yet" in ((await listed(one))["page"].problem or "")
    with pytest.raises(ManifestError) as refused:
        await one.get("page")
    assert [problem.code for problem in refused.value.problems] == ["no_catalogue"]
    assert len(reads) == 1
    farm.tell(a=CATALOGUE)
    assert (await listed(one))["page"].problem is None
    assert len((await one.get("page")).graph) == 5


async def test_the_first_backend_that_knows_all_nodes_converts(tmp_path: Path) -> None:
    write(tmp_path / "page.json", chain())
    farm = Farm(short=SHORT, whole=CATALOGUE)
    assert (await library(tmp_path, farm).get("page")).graph["4"]["class_type"] == "Filter"


async def test_when_all_refuse_the_nearest_one_says_why(tmp_path: Path) -> None:
    write(tmp_path / "page.json", chain())
    farm = Farm(empty={"Other": define({})}, short=SHORT, none={"Another": define({})})
    problem = (await listed(library(tmp_path, farm)))["page"].problem or ""
    assert "Filter" in problem and "Load" not in problem
    assert "3 backends were asked" in problem


async def test_a_pinned_job_is_converted_by_its_own_backend_alone(tmp_path: Path) -> None:
    write(tmp_path / "page.json", chain())
    other = {**CATALOGUE, "Load": define({"file": [["a.safetensors"]], "device": [["gpu"]]}, ["MODEL", "CLIP"])}
    one = library(tmp_path, Farm(first=CATALOGUE, second=other, third=SHORT))
    assert "device" not in (await one.get("page")).graph["1"]["inputs"]
    assert (await one.get("page", pin="second")).graph["1"]["inputs"]["device"] == "gpu"
    with pytest.raises(ManifestError, match="Filter"):
        await one.get("page", pin="third")
    with pytest.raises(ManifestError, match="'away' has not answered yet") as refused:
        await one.get("page", pin="away")
    assert refused.value.problems[0].code == "no_catalogue"


async def test_files_are_read_again_only_when_what_they_depend_on_changes(tmp_path: Path, reads: list[Path]) -> None:
    write(tmp_path / "page.json", chain())
    write(tmp_path / "api.json", text_to_image())
    write(tmp_path / "shot.png", picture())
    farm = Farm(a=CATALOGUE)
    one = library(tmp_path, farm)
    assert set(await listed(one)) == {"api", "page"}
    farm.tell(a=dict(CATALOGUE), b=dict(CATALOGUE))
    await listed(one)
    assert len(reads) == 3, "equal nodes are no news"
    farm.tell(c=SHORT)
    await listed(one)
    await one.get("page")
    assert len(reads) == 3, "the first backend still knows what it knew"
    farm.tell(a=SHORT, b=SHORT)
    with pytest.raises(ManifestError, match="Filter"):
        await one.get("page")
    assert [path.name for path in reads[3:]] == ["page.json"]


async def test_a_document_goes_before_the_picture_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path / "shot.json", text_to_image())
    write(tmp_path / "shot.png", picture(prompt={"1": node("EmptyImage", width=8)}))
    write(tmp_path / "take.MP4", film({"prompt": {"1": node("EmptyImage", width=9)}}))
    one = library(tmp_path, Farm())
    assert set(await listed(one)) == {"shot", "take"}
    assert (await one.get("shot")).graph == text_to_image()
    assert (await one.get("take")).graph["1"]["inputs"] == {"width": 9}


async def test_pictures_without_a_workflow_are_not_listed_and_broken_ones_are(tmp_path: Path) -> None:
    write(tmp_path / "thumbnail.png", picture())
    write(tmp_path / "empty.png", b"")
    write(tmp_path / "broken.png", picture(prompt='{"1": {"class_type": "A", "inputs": {"x": NaN}}}'))
    one = library(tmp_path, Farm())
    views = await listed(one)
    assert "NaN" in (views["broken"].problem or "")
    assert "thumbnail" not in views
    with pytest.raises(NotFoundError):
        await one.get("thumbnail")
    write(tmp_path / "thumbnail.png", picture(prompt={"1": node("EmptyImage", width=8)}))
    assert (await listed(one))["thumbnail"].problem is None


async def test_a_description_beside_a_picture_counts(tmp_path: Path) -> None:
    write(tmp_path / "shot.png", picture(workflow=chain()))
    (tmp_path / "shot.yaml").write_text("parameters: [{name: look, node: 4, input: strength, max: 2}]\n")
    workflow = await library(tmp_path, Farm(a=CATALOGUE)).get("shot")
    assert [view.name for view in workflow.declared] == ["look"]


async def test_what_a_conversion_had_to_leave_out_is_told_with_the_workflow(tmp_path: Path) -> None:
    broken = '{"1": {"class_type": "A", "inputs": {"x": NaN}}}'
    write(tmp_path / "shot.png", picture(prompt=broken, workflow=chain()))
    one = library(tmp_path, Farm(a=CATALOGUE))
    assert "NaN" in " ".join((await one.get("shot")).warnings)
    assert "NaN" in " ".join((await listed(one))["shot"].notes)


async def test_parameters_have_the_types_that_the_backends_say(tmp_path: Path) -> None:
    write(tmp_path / "page.json", chain())
    views = {view.name: view for view in (await library(tmp_path, Farm(a=CATALOGUE)).get("page")).parameters}
    assert (views["width"].type, views["width"].minimum, views["width"].maximum) == ("integer", 8, 16384)
    assert (views["cfg"].type, views["cfg"].maximum) == ("number", 100)
    file = next(view for view in views.values() if view.targets == ["1.file"])
    assert (file.type, file.choices) == ("choice", ["a.safetensors", "b.safetensors"])


async def test_a_range_that_the_file_beside_a_workflow_leaves_open_is_that_of_the_backends(tmp_path: Path) -> None:
    write(tmp_path / "page.json", chain())
    beside = "parameters:\n  - {name: file, node: 1, input: file, type: string}\n"
    write(tmp_path / "page.yaml", beside.encode())
    found = await library(tmp_path, Farm(a=CATALOGUE)).get("page")
    [shown] = found.parameters
    assert (shown.type, shown.choices) == ("choice", ["a.safetensors", "b.safetensors"])
    assert [(view.type, view.choices) for view in found.declared] == [("string", [])], "what is enforced stays"
