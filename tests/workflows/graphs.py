"""Small graphs for the tests, each made anew."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import HealthCheck, settings

from orchestrator_mcp.domain.jobs import Graph

STEADY: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For property tests: a slow machine is no failure."""


def node(class_type: str, title: str | None = None, /, **inputs: Any) -> dict[str, Any]:
    """A node; `title` is what a person called it."""
    made: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
    if title is not None:
        made["_meta"] = {"title": title}
    return made


def text_to_image(**changed: dict[str, Any]) -> Graph:
    """The usual graph; `_3=node(…)` puts another node in the place of node 3, or adds one."""
    graph = {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", "Positive", text="a cat", clip=["4", 1]),
        "7": node("CLIPTextEncode", "Negative", text="blurry", clip=["4", 1]),
        "3": sampler(),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    }
    return {**graph, **{name.strip("_"): made for name, made in changed.items()}}


def sampler(**changed: Any) -> dict[str, Any]:
    """The sampler of `text_to_image`, with other inputs."""
    inputs = {
        "seed": 42,
        "steps": 20,
        "cfg": 8,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
    }
    return node("KSampler", **{**inputs, **changed})
