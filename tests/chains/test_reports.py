"""What `result.json` tells of the render itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator_mcp.domain.reports import RenderReport
from tests.partners import SandboxFactory, text_to_image
from tests.world.house import House, backend, configured, house, until


async def result_of(farm: House, job_id: str) -> dict[str, Any]:
    pattern = f"*__{job_id[-8:]}/result.json"

    async def there() -> bool:
        return any(farm.settings.outbox_dir.glob(pattern))

    await until(there)
    [path] = farm.settings.outbox_dir.glob(pattern)
    return dict(json.loads(path.read_text("utf-8")))


async def test_a_result_names_its_backend_the_models_and_how_long_each_node_took(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(step_ms=40)))) as farm:
        first = await farm.submit(text_to_image(steps=5))
        result = await result_of(farm, first)
        [view] = (await farm.backends()).values()
        assert result["backend"] == {
            "id": "one",
            "comfyui_version": view["comfyui_version"],
            "device": view["devices"][0]["name"],
        }
        assert result["models"] == {"4.ckpt_name": "sd15.safetensors"}
        assert result["node_timings"]["3"] > 0
        assert set(result["node_timings"]) <= set("3456789")
        assert all(seconds >= 0 for seconds in result["node_timings"].values())
        assert sum(result["node_timings"].values()) <= result["timings"]["total"] + 0.1
        assert "cached_nodes" not in result

        again = await farm.submit(text_to_image(steps=5, seed=43))
        result = await result_of(farm, again)
        assert "4" in result["cached_nodes"]
        assert not set(result["cached_nodes"]) & set(result["node_timings"])


async def test_a_render_that_was_not_heard_has_no_times_of_nodes(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(faults=("no-ws",))))) as farm:
        result = await result_of(farm, await farm.submit(text_to_image()))
        assert "node_timings" not in result
        assert result["models"] == {"4.ckpt_name": "sd15.safetensors"}


async def test_a_job_that_never_rendered_tells_nothing_of_a_render(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    text = configured(backend("one", await sandboxes(), "enabled: false"))
    async with house(tmp_path, text) as farm:
        job_id = await farm.submit(text_to_image())
        await farm.api.delete(f"/api/job/{job_id}")
        assert {"backend", "models", "node_timings", "cached_nodes"}.isdisjoint(await result_of(farm, job_id))


def test_a_report_comes_back_as_it_was_stored() -> None:
    report = RenderReport(
        comfyui_version="0.3.64",
        models={"4.ckpt_name": "a/b.safetensors"},
        node_timings={"3": 1.25},
        cached_nodes=["4"],
    )
    assert RenderReport.from_json(report.to_json()) == report
    assert RenderReport.from_json(RenderReport().to_json()) == RenderReport()
