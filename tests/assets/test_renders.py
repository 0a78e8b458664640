"""Files on their way to backends: through a whole core, with sandboxes that open them for real."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.errors import ManifestError, NotFoundError
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.settings import LimitSettings
from tests.assets.samples import BEGIN, MASKED, SOUND, claimed_png, png, sha_of, uploads, whole
from tests.partners import SandboxFactory, sandbox, sandboxes
from tests.scheduler.core import Core, backend_for, core, quick
from tests.submissions import submission

__all__ = ["sandbox", "sandboxes"]


class Death(BaseException):
    """The end of a process, as far as a test can have one."""


async def keep(running: Core, content: bytes) -> str:
    return (await running.service.keep_asset(whole(content))).view.asset


async def pixel(running: Core, job: JobView) -> Any:
    [output] = job.outputs
    with Image.open((await running.service.output_file(job.job_id, output.name)).path) as image:
        return image.getpixel((0, 0))


async def refused(running: Core, value: object, graph: dict[str, Any] = BEGIN, **fields: Any) -> ManifestError:
    with pytest.raises(ManifestError) as told:
        await running.submit(graph, parameters={"image": value}, **fields)
    jobs = await running.service.jobs()
    assert jobs.jobs == []
    return told.value


async def test_a_job_begins_with_an_uploaded_picture(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        asset = await keep(running, png())
        job = await running.end_of(await running.submit(BEGIN, parameters={"image": asset}))
        assert await pixel(running, job) == (245, 235, 225)
        assert job.parameters == {"image": asset}
        assert [(one.target, one.sha256) for one in job.inputs] == [("1.image", sha_of(png()))]
        assert uploads(sandbox) == [f"{sha_of(png())}.png"]


async def test_the_same_file_twice_is_kept_once(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        first = await running.service.keep_asset(whole(png()))
        second = await running.service.keep_asset(whole(png()))
        assert (first.known, second.known, first.view) == (False, True, second.view)
        kept = [name for _, _, names in os.walk(tmp_path / "data" / "artifacts") for name in names]
        assert kept == [first.view.sha256]


async def test_many_jobs_bring_a_file_once_to_each_backend(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    servers = [await sandboxes(step_ms=1), await sandboxes(step_ms=1)]
    backends = [backend_for(server, f"b{number}") for number, server in enumerate(servers)]
    async with core(tmp_path, backends) as running:
        asset = await keep(running, png())
        jobs = [
            await running.submit(BEGIN, parameters={"image": asset}, backend_affinity=f"b{number % 2}")
            for number in range(6)
        ]
        ends = [(await running.end_of(job)).status for job in jobs]
    assert ends == ["completed"] * 6
    assert [len(uploads(server)) for server in servers] == [1, 1]


async def test_a_mask_is_a_picture(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        asset = await keep(running, png((200, 0, 0)))
        job = await running.end_of(await running.submit(MASKED, parameters={"image": asset}))
        assert (await pixel(running, job))[0] == 200


async def test_a_file_in_the_manifest_is_kept_and_shown_by_its_hash(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        text = base64.b64encode(png((1, 2, 3))).decode()
        for value in ({"base64": text}, {"base64": f"data:image/gif;base64,{text}", "name": "../x.gif"}):
            job = await running.end_of(await running.submit(BEGIN, parameters={"image": value}))
            assert await pixel(running, job) == (254, 253, 252)
            assert job.parameters == {"image": f"asset:{sha_of(png((1, 2, 3)))}"}


async def test_an_output_of_another_job_is_an_input_by_its_hash(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        first = await running.end_of(await running.submit(BEGIN, parameters={"image": await keep(running, png())}))
        value = first.outputs[0].sha256
        second = await running.end_of(await running.submit(BEGIN, parameters={"image": f"asset:{value}"}))
        assert await pixel(running, second) == (10, 20, 30)


async def test_a_hash_that_stands_in_the_graph_counts_too(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        asset = await keep(running, png())
        for value in (asset, f"{asset.removeprefix('asset:')}.png"):
            graph = {**BEGIN, "1": {"class_type": "LoadImage", "inputs": {"image": value}}}
            job = await running.end_of(await running.submit(graph))
            assert await pixel(running, job) == (245, 235, 225)


async def test_any_other_name_is_a_file_on_the_backend(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        job = await running.end_of(await running.submit(BEGIN, parameters={"image": "example.png"}))
        assert job.status == "completed" and job.inputs == []
        job = await running.end_of(await running.submit(BEGIN, parameters={"image": f"{'0' * 64}.png"}))
        assert job.error is not None and job.error.code == "prompt_rejected"


async def test_paths_are_taken_below_the_roots_only(tmp_path: Path, sandbox: SandboxServer) -> None:
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "sky.png").write_bytes(png())
    (tmp_path / "own.png").write_bytes(png())
    (tmp_path / "plates" / "link.png").symlink_to(tmp_path / "own.png")
    os.mkfifo(tmp_path / "plates" / "pipe.png")
    async with core(tmp_path, [backend_for(sandbox, "one")], roots=[tmp_path / "plates"]) as running:
        codes = {
            value: (await refused(running, value)).problems[0].code
            for value in (
                str(tmp_path / "own.png"),
                str(tmp_path / "nothing.png"),
                "../own.png",
                "link.png",
                "/dev/zero",
                str(tmp_path / "plates" / "moon.png"),
                "pipe.png",
                "C:\\plates\\sky.png",
            )
        }
        assert set(list(codes.values())[:5]) == {"asset_outside_roots"}
        assert list(codes.values())[5:] == ["asset_missing", "asset_missing", "asset_outside_roots"]
        for value in ("sky.png", str(tmp_path / "plates" / "sky.png")):
            job = await running.end_of(await running.submit(BEGIN, parameters={"image": value}))
            assert await pixel(running, job) == (245, 235, 225)
            assert job.parameters == {"image": value}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "asset_not_decodable"),
        (b'{"a": 1}', "asset_not_decodable"),
        (b"PK\x03\x04" + b"\x00" * 60, "asset_not_decodable"),
        (png()[:-20], "asset_not_decodable"),
        (claimed_png(64, 64, b"\x00" * 10), "asset_not_decodable"),
        (claimed_png(50_000, 50_000, b"\x00" * 10_000_000), "asset_too_large"),
        (claimed_png(16_000, 16_000, b"\x00" * 1_000), "asset_too_large"),
        (SOUND, "asset_wrong_kind"),
    ],
    ids=["svg", "json", "zip", "torn", "hollow", "bomb", "huge", "sound"],
)
async def test_what_no_picture_can_be_made_of_is_refused_before_it_is_queued(
    tmp_path: Path, sandbox: SandboxServer, content: bytes, code: str
) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        error = await refused(running, {"base64": base64.b64encode(content).decode()})
        assert [(problem.path, problem.code) for problem in error.problems] == [(("parameters", "image"), code)]
        kept = [name for _, _, names in os.walk(tmp_path / "data" / "artifacts") for name in names]
        assert kept == []


async def test_an_unknown_hash_and_a_file_that_is_too_large_are_told(tmp_path: Path, sandbox: SandboxServer) -> None:
    limits = LimitSettings(upload_bytes=500)
    async with core(tmp_path, [backend_for(sandbox, "one")], limits=limits, roots=[tmp_path]) as running:
        assert (await refused(running, f"asset:{'0' * 64}")).problems[0].code == "asset_unknown"
        assert (await refused(running, "asset:12")).problems[0].code == "reference"
        (tmp_path / "wide.png").write_bytes(png() + b"\x00" * 500)
        assert (await refused(running, "wide.png")).problems[0].code == "asset_too_large"
        with pytest.raises(ManifestError) as told:
            await keep(running, png() + b"\x00" * 500)
        assert told.value.problems[0].code == "asset_too_large"
        with pytest.raises(NotFoundError):
            await running.service.asset_file("0" * 64)


async def test_a_file_beside_the_manifest_goes_first(tmp_path: Path, sandbox: SandboxServer) -> None:
    (tmp_path / "job" / "parts").mkdir(parents=True)
    (tmp_path / "job" / "parts" / "sky.png").write_bytes(png((9, 9, 9)))
    wanted = submission(workflow=BEGIN, parameters={"image": "parts/sky.png"}, beside=tmp_path / "job")
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        accepted = await running.service.submit(wanted)
        job = await running.end_of(accepted.job_id)
        assert await pixel(running, job) == (246, 246, 246)


async def test_a_file_that_a_backend_has_lost_is_brought_again(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        asset = await keep(running, png())
        await running.end_of(await running.submit(BEGIN, parameters={"image": asset}))
        (sandbox.folders.input / uploads(sandbox)[0]).unlink()
        job = await running.end_of(await running.submit(BEGIN, parameters={"image": asset}))
        assert (job.status, len(job.attempts), len(uploads(sandbox))) == ("completed", 1, 2)


async def test_another_file_of_that_name_on_the_backend_is_not_taken_for_it(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        asset = await keep(running, png())
        (sandbox.folders.input / f"{sha_of(png())}.png").write_bytes(png()[:30])
        job = await running.end_of(await running.submit(BEGIN, parameters={"image": asset}))
        assert await pixel(running, job) == (245, 235, 225)


async def test_a_restart_finds_the_file_on_the_backend(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        asset = await keep(running, png())
        await running.end_of(await running.submit(BEGIN, parameters={"image": asset}))
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        job = await running.end_of(await running.submit(BEGIN, parameters={"image": asset}))
        assert job.status == "completed"
    assert len(uploads(sandbox)) == 1


async def test_a_death_between_upload_and_dispatch_loses_nothing_and_uploads_nothing_twice(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    died = anyio.Event()

    def die(step: Step) -> None:
        if step is Step.BROUGHT and not died.is_set():
            died.set()
            raise Death

    job_id = ""
    try:
        async with core(tmp_path, [backend_for(sandbox, "one")], at_step=die) as running:
            job_id = await running.submit(BEGIN, parameters={"image": await keep(running, png())})
            await anyio.sleep_forever()
    except BaseExceptionGroup as deaths:
        assert deaths.subgroup(Death) is not None
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        job = await running.end_of(job_id)
        assert await pixel(running, job) == (245, 235, 225)
    assert len(uploads(sandbox)) == 1


async def test_a_backend_that_cannot_take_a_file_now_costs_the_job_nothing(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    sandbox.set_fault("html-502:/upload/image")
    async with core(tmp_path, [backend_for(sandbox, "one")], quick(max_attempts=1)) as running:
        asset = await keep(running, png())
        job_id = await running.submit(BEGIN, parameters={"image": asset})
        job = await running.until_so(job_id, lambda job: len(job.attempts) > 1)
        assert {attempt.outcome for attempt in job.attempts} <= {"refused", None}
        sandbox.clear_faults("html-502")
        assert (await running.end_of(job_id)).status == "completed"


async def test_a_backend_that_never_takes_a_file_is_left_aside(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    small, large = await sandboxes(faults=("upload-413",)), await sandboxes()
    async with core(tmp_path, [backend_for(small, "small"), backend_for(large, "large")]) as running:
        asset = await keep(running, png())
        jobs = [await running.submit(BEGIN, parameters={"image": asset}) for _ in range(3)]
        ends = [await running.end_of(job) for job in jobs]
        assert {(job.status, job.backend_id) for job in ends} == {("completed", "large")}
        alone = await running.submit(BEGIN, parameters={"image": asset}, backend_affinity="small")
        end = await running.end_of(alone)
        assert end.error is not None and end.error.code == "input_refused"


async def test_the_same_key_is_the_same_wish_whatever_its_file_holds_by_then(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    (tmp_path / "sky.png").write_bytes(png())
    async with core(tmp_path, [backend_for(sandbox, "one")], roots=[tmp_path]) as running:
        first = await running.submit(BEGIN, parameters={"image": "sky.png"}, idempotency_key="k")
        (tmp_path / "sky.png").write_bytes(png((1, 1, 1)))
        assert await running.submit(BEGIN, parameters={"image": "sky.png"}, idempotency_key="k") == first


async def test_a_declared_default_may_be_an_asset(tmp_path: Path, sandbox: SandboxServer) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "invert.json").write_text(json.dumps(BEGIN), encoding="utf-8")
    async with core(tmp_path, [backend_for(sandbox, "one")]) as running:
        asset = await keep(running, png())
        said = f"parameters:\n  - {{name: plate, node: 1, input: image, type: image, default: '{asset}'}}\n"
        (tmp_path / "workflows" / "invert.yaml").write_text(said, encoding="utf-8")
        accepted = await running.service.submit(submission(workflow_id="invert"))
        job = await running.end_of(accepted.job_id)
        assert await pixel(running, job) == (245, 235, 225)
        wanted = submission(workflow_id="invert", parameters={"plate": "example.png"})
        job = await running.end_of((await running.service.submit(wanted)).job_id)
        assert (job.status, job.inputs) == ("completed", [])
