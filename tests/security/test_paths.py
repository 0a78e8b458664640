"""Nothing that a backend, a workflow, a manifest or an address says becomes a path."""

from __future__ import annotations

import ntpath
import posixpath
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator_mcp.artifacts.naming import OutputPlace, output_names
from orchestrator_mcp.workflows.links import Target
from orchestrator_mcp.workflows.prefixes import isolate_outputs
from orchestrator_mcp.workflows.requirements import leaves_its_folder
from tests.security.guarded import PICTURE, Guarded, guarded

JOB = "019ab0c4-8e6f-7a31-9c1d-5f0e2b7a6c42"
HOSTILE = [
    "../../x",
    "..\\..\\x",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "C:x",
    "\\\\server\\share\\x",
    "//server/share/x",
    "a/../../b",
    "nul\x00.png",
    "CON.png",
    "x" * 300,
    "\u202egnp.exe",
    "%2e%2e%2f",
    "~/x",
    "a\nb",
    ".",
    "..",
    "",
]
names = st.one_of(
    st.sampled_from(HOSTILE), st.text(alphabet="./\\aC:~ %\x00\n\u202eé", max_size=40), st.text(max_size=60)
)


def is_one_safe_part(name: str) -> bool:
    """Whether a name is one part of a path on every system, and nothing else."""
    parts = {posixpath.basename(name), ntpath.basename(name), ntpath.splitdrive(name)[1]}
    shown = all(char.isprintable() for char in name)
    return parts == {name} and name not in ("", ".", "..") and not name.startswith(".") and shown


@given(st.lists(st.tuples(names, names), min_size=1, max_size=20), names)
@example([("../x", "../sh")] * 3, "../../etc")
def test_names_of_outputs_are_one_safe_part_each_and_never_the_same(places: list[tuple[str, str]], stem: str) -> None:
    made = output_names([OutputPlace(node, extension) for node, extension in places], stem)
    assert len({name.casefold() for name in made}) == len(places)
    for name in made:
        assert is_one_safe_part(name), name
        assert len(name.encode()) <= 120


@given(names, names.filter(bool))
def test_prefixes_of_outputs_stay_in_the_folder_of_their_job(prefix: str, node: str) -> None:
    graph: dict[str, Any] = {node: {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix}}}
    made = isolate_outputs(graph, JOB)[node]["inputs"]["filename_prefix"]
    assert made.startswith(f"orch/{JOB}/")
    assert len(made.split("/")) == 4 and all(is_one_safe_part(part) for part in made.split("/"))
    assert "%" not in made
    for system, root in ((posixpath, "/out"), (ntpath, "C:\\out")):
        joined = system.normpath(system.join(root, made))
        assert system.commonpath([root, joined]) == root


@given(names, st.sampled_from([("LoadImage", "image"), ("CheckpointLoaderSimple", "ckpt_name"), ("Any", "lora_name")]))
def test_a_loader_never_gets_a_name_that_leaves_its_folder(value: str, loader: tuple[str, str]) -> None:
    graph: dict[str, Any] = {"1": {"class_type": loader[0], "inputs": {loader[1]: value}}}
    if leaves_its_folder(graph, Target("1", loader[1]), value):
        return
    for system, root in ((posixpath, "/in"), (ntpath, "C:\\in")):
        if system is ntpath and value[1:2] == ":" and value[0] not in string.ascii_letters:
            continue  # no drive has such a name: Windows takes it for a stream of a file in the folder
        joined = system.normpath(system.join(root, value))
        assert system.commonpath([root, joined]) == root, value


@pytest.fixture
async def farm(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path, tokens=False) as running:
        yield running


async def test_no_address_of_an_output_reaches_another_file(farm: Guarded) -> None:
    secret = farm.folder / "secret.txt"
    secret.write_text("canary", encoding="utf-8")
    async with farm.client() as client:
        job_id = (await client.post("/api/job", json={"workflow": PICTURE})).json()["job_id"]
        await client.get(f"/api/job/{job_id}/events")
        (output,) = (await client.get(f"/api/job/{job_id}/outputs")).json()
        base = f"/api/job/{job_id}/outputs"
        for name in (
            "..%2f..%2fsecret.txt",
            "%2e%2e%2f%2e%2e%2fsecret.txt",
            "..%5c..%5csecret.txt",
            "%00",
            f"{output['name']}%00.txt",
            f"{output['name']}%2f..%2fsecret.txt",
            output["sha256"],
            str(secret).replace("/", "%2f"),
        ):
            response = await client.get(f"{base}/{name}")
            assert response.status_code == 404 and "canary" not in response.text, name
        for asset in ("..%2fpages.py", "%2e%2e%2f__init__.py", "swagger-ui.css%00", "/etc/passwd"):
            assert (await client.get(f"/docs/assets/{asset}")).status_code == 404, asset
        for job in ("..%2f..%2fsecret.txt", "%00", "x" * 5000):
            assert (await client.get(f"/api/job/{job}/outputs/{output['name']}")).status_code == 404


@pytest.mark.parametrize("value", ["../secret.png", "/etc/passwd", "C:\\x.png", "a/../../x.png", "a\x00.png"])
async def test_a_loader_that_leaves_its_folder_is_refused_in_graph_and_parameters(farm: Guarded, value: str) -> None:
    inside = {**PICTURE, "9": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
    outside = {**PICTURE, "9": {"class_type": "LoadImage", "inputs": {"image": value}}}
    async with farm.client() as client:
        for body in ({"workflow": outside}, {"workflow": inside, "parameters": {"9.image": value}}):
            assert (await client.post("/api/job", json=body)).status_code == 422, body
        assert (await client.get("/api/jobs")).json()["jobs"] == []


async def test_a_workflow_id_is_a_key_and_never_a_path(farm: Guarded) -> None:
    (farm.folder / "secret.json").write_text("{}", encoding="utf-8")
    async with farm.client() as client:
        for name in (*HOSTILE, "../secret", str(farm.folder / "secret")):
            response = await client.post("/api/job", json={"workflow_id": name})
            assert response.status_code in (404, 422), response.text
