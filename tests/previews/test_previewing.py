"""What callers get to see of real jobs: a whole core, a real sandbox, real files."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from orchestrator_mcp.errors import ManifestError, NoPreviewError, NotFoundError
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.service import JobPreview
from tests.partners import SandboxFactory
from tests.scheduler.core import PICTURE, Core, backend_for, core, render
from tests.submissions import submission


@pytest.fixture
async def server(sandboxes: SandboxFactory) -> SandboxServer:
    return await sandboxes(previews=True, step_ms=5.0)


@pytest.fixture
async def house(tmp_path: Path, server: SandboxServer) -> AsyncIterator[Core]:
    with anyio.fail_after(60):
        async with core(tmp_path, [backend_for(server, "gpu0", kind="sandbox")]) as running:
            yield running


def seen(preview: JobPreview) -> Image.Image:
    image = Image.open(io.BytesIO(preview.picture.data))
    image.load()
    assert image.size == (preview.picture.width, preview.picture.height)
    return image


def picture(side: int, *, batch: int = 1, colour: int = 0xDC1E1E) -> dict[str, Any]:
    fill = {"width": side, "height": side, "batch_size": batch, "color": colour}
    return {
        "1": {"class_type": "EmptyImage", "inputs": fill},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
    }


async def done(house: Core, graph: dict[str, Any], **fields: Any) -> str:
    job_id = await house.submit(graph, **fields)
    assert (await house.end_of(job_id)).status == "completed"
    return job_id


async def test_the_picture_of_a_job_is_shown_small_with_its_facts(house: Core) -> None:
    job_id = await done(house, picture(1024))
    (output,) = await house.service.outputs(job_id)
    preview = await house.service.preview(job_id)
    assert seen(preview).size == (768, 768)
    assert preview.settled
    for part in (output.name, job_id, "1024 x 1024", "768 x 768", output.url, "test slate"):
        assert part in preview.text
    assert seen(await house.service.preview(job_id, name=output.name, longest=64)).size == (64, 64)


async def test_several_files_of_a_job_stand_on_one_sheet(house: Core) -> None:
    job_id = await done(house, picture(64, batch=3))
    outputs = await house.service.outputs(job_id)
    assert len(outputs) == 3
    preview = await house.service.preview(job_id)
    assert "contact sheet" in preview.text and all(output.name in preview.text for output in outputs)
    assert seen(preview).width > seen(preview).height
    single = await house.service.preview(job_id, name=outputs[1].name)
    assert seen(single).size == (64, 64)


async def test_jobs_side_by_side_are_captioned_by_what_differs_and_failed_ones_say_why(house: Core) -> None:
    good = [await done(house, render(steps=2), parameters={"5.seed": seed}) for seed in (12, 13)]
    wrong = {**picture(64), "1": {"class_type": "LoadImage", "inputs": {"image": "shots/missing.png"}}}
    failed = await house.submit(wrong)
    assert (await house.end_of(failed)).status == "failed"
    preview = await house.service.preview(*good, failed, good[0])
    assert "seed 12" in preview.text and "seed 13" in preview.text
    assert f"3. {failed} failed" in preview.text and "missing.png" in preview.text and "\n4." not in preview.text
    assert preview.settled and max(seen(preview).size) <= 1536


async def test_jobs_of_which_none_has_a_picture_are_told_in_words_instead_of_an_empty_sheet(house: Core) -> None:
    first = await house.submit(render(steps=5000))
    await house.until(first, "running", stage="rendering")
    batch = {"1.color": [0xFF0000, 0x00FF00, 0x0000FF]}
    wanted = submission(workflow=picture(64), batch=batch, workflow_id="shot")
    accepted = await house.service.batches.submit(wanted)
    with pytest.raises(NoPreviewError, match="None of these 3 jobs has a picture yet: 3 queued") as caught:
        await house.service.preview(accepted.batch_id)
    assert "job_status" in (caught.value.hint or "")
    with pytest.raises(NoPreviewError, match="waits in the queue"):
        await house.service.preview(accepted.job_ids[0], name="out.png")
    with pytest.raises(NoPreviewError, match="has no files yet"):
        await house.service.preview(first, name="out.png")
    await house.service.cancel(first)


async def test_a_batch_is_one_sheet(house: Core) -> None:
    batch = {"1.color": [0xFF0000, 0x00FF00, 0x0000FF]}
    wanted = submission(workflow=picture(64), batch=batch, workflow_id="shot")
    accepted = await house.service.batches.submit(wanted)
    for job_id in accepted.job_ids:
        await house.end_of(job_id)
    preview = await house.service.preview(accepted.batch_id)
    assert preview.settled and all(job_id in preview.text for job_id in accepted.job_ids)
    assert f"color {0xFF00}" in preview.text
    with pytest.raises(ManifestError, match="one job_id"):
        await house.service.preview(accepted.batch_id, name="x.png")


async def test_a_render_under_way_shows_its_newest_frame_and_says_that_it_is_not_the_result(
    house: Core, server: SandboxServer
) -> None:
    job_id = await house.submit(render(steps=5000))
    await sampling(house, job_id)
    preview = await house.service.preview(job_id)
    assert not preview.settled and "not its result" in preview.text and job_id in preview.text
    assert max(seen(preview).size) <= 768
    beside = await house.service.preview(job_id, await done_later(house))
    assert f"1. {job_id} running" in beside.text and not beside.settled
    await house.service.cancel(job_id)
    assert (await house.end_of(job_id)).status == "cancelled"
    with pytest.raises(NoPreviewError, match="was cancelled"):
        await house.service.preview(job_id)


async def sampling(house: Core, job_id: str) -> None:
    """Wait until a render has made some steps."""
    with anyio.fail_after(20):
        async with house.service.watch(job_id) as events:
            async for event in events:
                if (event.progress or 0.0) > 0.01:
                    return
    raise AssertionError("it ended before it was seen at work")


async def done_later(house: Core) -> str:
    """A job that waits behind the running one."""
    return await house.submit(PICTURE)


async def test_a_job_that_waits_says_so(house: Core, server: SandboxServer) -> None:
    first = await house.submit(render(steps=5000))
    await house.until(first, "running", stage="rendering")
    second = await house.submit(PICTURE, priority=-5)
    with pytest.raises(NoPreviewError, match="waits in the queue"):
        await house.service.preview(second)
    await house.service.cancel(first)
    await house.end_of(second)


async def test_a_backend_without_frames_is_said_so(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    silent = await sandboxes(previews=False, step_ms=5.0)
    with anyio.fail_after(60):
        async with core(tmp_path, [backend_for(silent, "gpu0")]) as house:
            job_id = await house.submit(render(steps=5000))
            await sampling(house, job_id)
            with pytest.raises(NoPreviewError, match="has sent no picture"):
                await house.service.preview(job_id)
            await house.service.cancel(job_id)
            await house.end_of(job_id)


async def test_a_text_is_a_card_and_no_pretended_picture(house: Core) -> None:
    job_id = await done(house, {**picture(64), "3": {"class_type": "PreviewAny", "inputs": {"source": 5}}})
    texts = [output for output in await house.service.outputs(job_id) if output.kind == "text"]
    assert texts, "the sandbox gives a text for PreviewAny"
    preview = await house.service.preview(job_id, name=texts[0].name)
    assert "Open the file to read it." in preview.text and seen(preview).size == (768, 432)


async def test_a_file_that_was_removed_is_said_so(house: Core, tmp_path: Path) -> None:
    job_id = await done(house, picture(64))
    (output,) = await house.service.outputs(job_id)
    (await house.service.output_file(job_id, output.name)).path.unlink()
    with pytest.raises(NoPreviewError, match="no longer kept"):
        await house.service.preview(job_id)


async def test_wrong_questions_are_refused_with_what_would_be_right(house: Core) -> None:
    job_id = await done(house, picture(64))
    with pytest.raises(NotFoundError, match="no job"):
        await house.service.preview("nope")
    with pytest.raises(NotFoundError, match="no output"):
        await house.service.preview(job_id, name="../../etc/passwd")
    for longest in (0, 63, 2049, -1):
        with pytest.raises(ManifestError, match="64 to 2048"):
            await house.service.preview(job_id, longest=longest)
    with pytest.raises(ManifestError, match="1 to 100"):
        await house.service.preview()
    with pytest.raises(ManifestError, match="1 to 100"):
        await house.service.preview(*[job_id] * 101)
    with pytest.raises(ManifestError, match="one job_id"):
        await house.service.preview(job_id, "other", name="x")
