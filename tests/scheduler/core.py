"""A whole core without doors: store, backends, dispatch and service, over real sockets and a real file."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx

from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.composition.choices import Choices
from orchestrator_mcp.composition.core import core as whole_core
from orchestrator_mcp.domain.steps import AtStep, Step, no_step
from orchestrator_mcp.domain.views import BackendView, JobView
from orchestrator_mcp.sandbox import FaultProxy, SandboxServer
from orchestrator_mcp.service import JobService
from orchestrator_mcp.settings import AssetSettings, BackendSettings, LimitSettings, SchedulingSettings, Settings
from tests.partners import picture_graph
from tests.submissions import submission

QUICK = SchedulingSettings(
    probe_interval=0.05,
    probe_timeout=2.0,
    poll_interval=0.05,
    poll_interval_max=0.2,
    post_timeout=2.0,
    quarantine=0.5,
    lost_after=2.0,
    retry_delay=0.05,
    connect_timeout=1.0,
    foreign_patience=0.0,
)

PICTURE: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}


def render(steps: int = 4, seed: int = 1, model: str = "sd15.safetensors") -> dict[str, Any]:
    """A text-to-image graph."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": model}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["3", 0],
                "latent_image": ["4", 0],
                "seed": seed,
                "steps": steps,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "shot"}},
    }


def quick(**changes: float) -> SchedulingSettings:
    """`QUICK`, with some other values."""
    return QUICK.model_copy(update=changes)


def rendered(*servers: SandboxServer) -> Counter[str]:
    """How often each job was rendered to its end on these servers, as they say themselves."""
    return Counter(
        line["marker"]["orchestrator"]["job_id"]
        for server in servers
        for line in server.oracle.lines
        if line["event"] == "ended" and line["outcome"] == "success" and "orchestrator" in line["marker"]
    )


async def post_foreign(server: SandboxServer, name: str = "foreign") -> str:
    """Queue somebody else's prompt."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        return str((await client.post("/prompt", json={"prompt": picture_graph(name)})).json()["prompt_id"])


def backend_for(server: SandboxServer | FaultProxy, name: str, **choices: Any) -> BackendSettings:
    """A backend entry for a sandbox server."""
    return BackendSettings(id=name, name=name, host="127.0.0.1", port=server.port, **choices)


@dataclass(kw_only=True)
class Core:
    """A running core and what tests ask of it.

    Attributes:
        patience: seconds that a wait may take; a real renderer needs more than a sandbox.
    """

    service: JobService
    settings: Settings
    steps: list[Step] = field(default_factory=list)
    patience: float = 20.0

    async def submit(self, graph: dict[str, Any], **fields: Any) -> str:
        return (await self.service.submit(submission(workflow=graph, **fields))).job_id

    async def until(self, job_id: str, *statuses: str, stage: str | None = None) -> JobView:
        """Wait until a job has one of these statuses (and stage)."""
        return await self.until_so(job_id, lambda job: job.status in statuses and stage in (None, job.stage))

    async def until_so(self, job_id: str, condition: Callable[[JobView], bool]) -> JobView:
        """Wait until a job is as wanted. A state that it leaves at once may not be seen."""
        with anyio.fail_after(self.patience):
            async with self.service.watch(job_id) as events:
                async for event in events:
                    if event.job is not None and condition(event.job):
                        return event.job
        raise AssertionError(f"{job_id} ended and was never as wanted: {await self.service.job(job_id)}")

    async def until_backend(self, backend_id: str, status: str) -> BackendView:
        """Wait until a backend is shown so."""
        with anyio.fail_after(self.patience):
            while (view := self.service.backend(backend_id)).status != status:  # noqa: ASYNC110 - views have no events
                await anyio.sleep(0.01)
        return view

    async def end_of(self, job_id: str) -> JobView:
        return await self.until(job_id, "completed", "failed", "cancelled")


@asynccontextmanager
async def core(
    folder: Path,
    backends: Sequence[BackendSettings],
    scheduling: SchedulingSettings = QUICK,
    limits: LimitSettings | None = None,
    *,
    roots: Sequence[Path] = (),
    at_step: AtStep = no_step,
) -> AsyncIterator[Core]:
    """Run a core on a folder."""
    settings = Settings(
        config_file=folder / "config.yaml",
        data_dir=folder / "data",
        workflows_dirs=(folder / "workflows",),
        backends=tuple(backends),
        scheduling=scheduling,
        limits=limits or LimitSettings(),
        assets=AssetSettings(roots=tuple(roots)),
    )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    steps: list[Step] = []

    def note(step: Step) -> None:
        steps.append(step)
        at_step(step)

    async with whole_core(settings, Choices(at_step=note), SystemClock()) as service:
        yield Core(service=service, settings=settings, steps=steps)
