"""Partners for tests: sandbox servers over real sockets, and graphs to give them.

Use the fixtures from a ``conftest.py``: ``from tests.partners import sandbox, sandboxes`` and name them in ``__all__``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, SandboxServer

Graph = dict[str, Any]
SandboxFactory = Callable[..., Awaitable[SandboxServer]]


@pytest.fixture
async def sandboxes() -> AsyncIterator[SandboxFactory]:
    """Make sandbox servers: ``await sandboxes(step_ms=20, faults=("freeze",))``; all stop when the test ends."""

    async def live(options: SandboxOptions, *, task_status: TaskStatus[SandboxServer]) -> None:
        async with Sandbox(options).serve() as server:
            task_status.started(server)
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:

        async def make(**choices: Any) -> SandboxServer:
            server: SandboxServer = await group.start(live, SandboxOptions(**{"step_ms": 1.0, **choices}))
            return server

        yield make
        group.cancel_scope.cancel()


@pytest.fixture
async def sandbox(sandboxes: SandboxFactory) -> SandboxServer:
    """One fast sandbox server."""
    return await sandboxes()


def picture_graph(prefix: str = "shot", *, colour: int = 0x3366CC, size: int = 64) -> Graph:
    """A graph that needs no model: one plain picture, inverted and saved by node 3.

    Args:
        prefix: The ``filename_prefix``.
        colour: 0xRRGGBB.
        size: Width and height, in pixels.
    """
    fill = {"width": size, "height": size, "batch_size": 1, "color": colour}
    return {
        "1": {"class_type": "EmptyImage", "inputs": fill},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
    }


def text_to_image(
    prompt: str = "a lighthouse at dusk",
    *,
    negative: str = "blurry",
    seed: int = 42,
    steps: int = 4,
    width: int = 128,
    height: int = 128,
    batch: int = 1,
    checkpoint: str = "sd15.safetensors",
    prefix: str = "slate",
) -> Graph:
    """An ordinary text-to-image graph: node 3 samples, node 9 saves.

    Args:
        prompt: The positive text.
        negative: The negative text.
        seed: The seed.
        steps: Sampler steps.
        width: In pixels.
        height: In pixels.
        batch: How many pictures.
        checkpoint: The checkpoint's file name.
        prefix: The ``filename_prefix``.
    """
    size = {"width": width, "height": height, "batch_size": batch}
    sampler = {
        "seed": seed,
        "steps": steps,
        "cfg": 7.5,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
    }
    return {
        "3": {"class_type": "KSampler", "inputs": sampler},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "5": {"class_type": "EmptyLatentImage", "inputs": size},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": negative, "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": prefix}},
    }
