"""The whole core, without doors, on a real ComfyUI: from the manifest to verified files, and every way to fail."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.errors import NoBackendCanError
from tests.partners import Graph, picture_graph
from tests.real.graphs import blurred, broken, every_kind, film, own_prefix, plain
from tests.real.partner import client_of, needs_nodes_of, needs_server, real_core, standing
from tests.scheduler.core import Core

pytestmark = needs_server


async def content_of(running: Core, job: JobView, name: str) -> bytes:
    (output,) = [output for output in job.outputs if output.name == name]
    content = (await running.service.output_file(job.job_id, name)).path.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (output.size, output.sha256)
    return content


async def test_a_picture_is_rendered_verified_and_published_once(tmp_path: Path) -> None:
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(await running.submit(picture_graph(own_prefix())))
        assert (job.status, job.progress, job.error) == ("completed", 1.0, None)
        assert [attempt.outcome for attempt in job.attempts] == ["succeeded"]
        [output] = job.outputs
        assert (output.node, output.kind, output.media_type) == ("3", "image", "image/png")
        assert (await content_of(running, job, output.name)).startswith(b"\x89PNG")
        assert not job.sandbox
        assert running.service.backend("real").devices


async def test_two_equal_jobs_have_files_of_their_own(tmp_path: Path) -> None:
    graph = picture_graph(own_prefix())
    async with real_core(tmp_path, standing()) as running, client_of(standing()) as client:
        jobs = [await running.end_of(await running.submit(graph)) for _ in range(2)]
        folders = []
        for job in jobs:
            assert job.status == "completed"
            entry = await client.history(job.attempts[0].prompt_id)
            assert entry is None or len(entry.outputs) == 1
            folders.append(entry.outputs[0].subfolder if entry else job.job_id)
    assert len(set(folders)) == 2


async def test_every_kind_of_output_is_published_and_previews_are_not(tmp_path: Path) -> None:
    await needs_nodes_of(every_kind())
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(await running.submit(every_kind()))
        assert job.status == "completed", job.error
        found = sorted((output.node, output.kind, output.media_type) for output in job.outputs)
        assert found == [
            ("3", "image", "image/png"),
            ("3", "image", "image/png"),
            ("4", "image", "image/webp"),
            ("6", "text", "text/plain"),
        ]
        by_node = {output.node: output.name for output in job.outputs}
        moving = await content_of(running, job, by_node["4"])
        assert moving[8:12] == b"WEBP"
        assert b"ANIM" in moving
        assert await content_of(running, job, by_node["6"]) == b"64"


async def test_temporary_pictures_are_published_when_there_is_nothing_else(tmp_path: Path) -> None:
    graph = {**plain(batch=2), "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(await running.submit(graph))
        assert (job.status, [output.media_type for output in job.outputs]) == ("completed", ["image/png"] * 2)


async def test_a_text_alone_is_a_result(tmp_path: Path) -> None:
    graph = {**every_kind()}
    for node in ("3", "4", "5"):
        del graph[node]
    await needs_nodes_of(graph)
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(await running.submit(graph))
        assert (job.status, [output.kind for output in job.outputs]) == ("completed", ["text"])


async def test_films_are_videos_whatever_list_they_stand_in(tmp_path: Path) -> None:
    await needs_nodes_of(film())
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(await running.submit(film()))
        assert job.status == "completed", job.error
        found = sorted((output.node, output.kind, output.media_type) for output in job.outputs)
        assert found == [("3", "video", "video/mp4"), ("4", "video", "video/webm")]
        names = {output.node: output.name for output in job.outputs}
        assert (await content_of(running, job, names["3"]))[4:8] == b"ftyp"


async def test_a_node_that_raises_fails_the_job_in_comfyuis_words(tmp_path: Path) -> None:
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(await running.submit(broken()))
        assert (job.status, len(job.attempts), job.outputs) == ("failed", 1, [])
        assert job.error is not None
        assert job.error.code == "node_error"
        assert (job.error.details["node_id"], job.error.details["node_type"]) == ("4", "ImageBlend")
        assert job.error.details["exception_type"] == "RuntimeError"
        assert "The size of tensor" in job.error.message
        assert "ImageBlend" in job.error.message


async def refusal(running: Core, graph: Graph) -> str:
    """Why a graph is not queued, once the server has said what it has."""
    await running.end_of(await running.submit(picture_graph(own_prefix())))
    with pytest.raises(NoBackendCanError) as refused:
        await running.submit(graph)
    return str(refused.value.details["backends"]["real"])


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (0, "width is 0; at least 1 is needed"),
        ("wide", "width is the text 'wide'; a whole number is needed"),
        (["1", 0], "width takes INT, and output 0 of node 1 (EmptyImage) gives IMAGE"),
    ],
)
async def test_what_the_server_would_refuse_is_refused_before_it_is_queued(
    tmp_path: Path, width: object, told: str
) -> None:
    async with client_of(standing()) as client:
        if (await client.object_info()).python_module("EmptyImage") is None:
            pytest.skip("this server does not tell its own nodes from those of packs, whose checks are not known")
    graph = picture_graph(own_prefix())
    graph["4"] = {"class_type": "EmptyImage", "inputs": {**graph["1"]["inputs"], "width": width}}
    graph["2"]["inputs"]["image"] = ["4", 0]
    async with real_core(tmp_path, standing()) as running:
        assert await refusal(running, graph) == f"node 4 (EmptyImage): {told}"


async def test_a_graph_that_the_server_refuses_fails_with_its_words(tmp_path: Path) -> None:
    graph = picture_graph(own_prefix())
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": "shots/absent.png"}}
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(await running.submit(graph))
        assert (job.status, job.outputs) == ("failed", [])
        assert job.error is not None
        assert job.error.code == "prompt_rejected"
        [node] = [node for node in job.error.details["node_errors"] if node["errors"]]
        assert (node["node_id"], node["class_type"]) == ("1", "LoadImage")
        assert "absent.png" in job.error.message


async def test_a_graph_that_is_valid_in_part_only_is_not_rendered(tmp_path: Path) -> None:
    graph = picture_graph(own_prefix())
    graph["4"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "bad"}}
    graph["5"] = {"class_type": "LoadImage", "inputs": {"image": "shots/absent.png"}}
    async with real_core(tmp_path, standing()) as running, client_of(standing()) as client:
        job = await running.end_of(await running.submit(graph))
        assert (job.status, job.outputs) == ("failed", [])
        assert job.error is not None
        assert job.error.code == "prompt_rejected"
        assert "5" in [node["node_id"] for node in job.error.details["node_errors"]]
        assert (await client.queue()).find(job.attempts[0].prompt_id) is None


async def test_a_job_whose_node_class_is_nowhere_is_refused(tmp_path: Path) -> None:
    graph = {**picture_graph(own_prefix()), "9": {"class_type": "NoSuchNodeAnywhere", "inputs": {}}}
    async with real_core(tmp_path, standing()) as running:
        assert await refusal(running, graph) == "it lacks the node class NoSuchNodeAnywhere"


async def test_progress_rises_to_the_end_and_names_nodes_of_the_graph(tmp_path: Path) -> None:
    graph = blurred(4, size=512, colour=0x102030)
    await needs_nodes_of(graph)
    async with real_core(tmp_path, standing()) as running:
        job_id = await running.submit(graph)
        fractions: list[float] = []
        nodes: set[str | None] = set()
        stages: list[str | None] = []
        last = None
        async with running.service.watch(job_id) as events:
            async for event in events:
                last = event
                if event.type == "progress":
                    fractions.append(event.progress or 0.0)
                    nodes.add(event.node)
                elif event.job is not None:
                    stages.append(event.job.stage)
        assert last is not None
        assert last.type == "end"
        assert last.job is not None
        assert (last.job.status, last.job.progress) == ("completed", 1.0)
    assert len(set(fractions)) > 1
    assert fractions == sorted(fractions)
    assert nodes & set(graph)
    assert nodes <= {*graph, None}
    assert "rendering" in stages
