"""The nodes that stand in for models: loaders, conditioning, latents and samplers."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from typing import Any

from anyio import to_thread
from PIL import Image

from orchestrator_mcp.sandbox.nodes.slate import draw_slate
from orchestrator_mcp.sandbox.nodes.values import (
    Clip,
    Conditioning,
    Latent,
    Model,
    NodeCall,
    NodeError,
    NodeResult,
    Pictures,
    Sampling,
    Vae,
    guard_size,
)

_PREVIEW_SIDE = 256
_OUT_OF_MEMORY = (
    "Allocation on device \nThis error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)


async def load_checkpoint(call: NodeCall) -> NodeResult:
    """Load a checkpoint.

    Args:
        call: With ``ckpt_name``.
    """
    name = call.inputs["ckpt_name"]
    await call.live.load(name)
    return NodeResult(outputs=(Model(name=name), Clip(names=(name,)), Vae(name=name)))


async def load_unet(call: NodeCall) -> NodeResult:
    """Load a diffusion model.

    Args:
        call: With ``unet_name``.
    """
    name = call.inputs["unet_name"]
    await call.live.load(name)
    return NodeResult(outputs=(Model(name=name),))


async def load_clip(call: NodeCall) -> NodeResult:
    """Load one or two text encoders.

    Args:
        call: With ``clip_name``, or ``clip_name1`` and ``clip_name2``.
    """
    names = tuple(call.inputs[key] for key in ("clip_name", "clip_name1", "clip_name2") if key in call.inputs)
    return NodeResult(outputs=(Clip(names=names),))


async def load_vae(call: NodeCall) -> NodeResult:
    """Load a VAE.

    Args:
        call: With ``vae_name``.
    """
    return NodeResult(outputs=(Vae(name=call.inputs["vae_name"]),))


async def load_lora(call: NodeCall) -> NodeResult:
    """Put a LoRA on a model.

    Args:
        call: With ``model``, ``clip``, ``lora_name``, ``strength_model`` and ``strength_clip``.
    """
    model: Model = call.inputs["model"]
    added = (call.inputs["lora_name"], float(call.inputs["strength_model"]))
    return NodeResult(outputs=(replace(model, loras=(*model.loras, added)), call.inputs["clip"]))


async def encode_text(call: NodeCall) -> NodeResult:
    """Keep a text as a conditioning.

    Args:
        call: With ``text``.
    """
    return NodeResult(outputs=(Conditioning(text=call.inputs["text"]),))


async def empty_latent(call: NodeCall) -> NodeResult:
    """Make empty latents; sides are cut down to multiples of 8 pixels.

    Args:
        call: With ``width``, ``height`` and ``batch_size``.
    """
    width, height = call.inputs["width"] // 8 * 8, call.inputs["height"] // 8 * 8
    return NodeResult(outputs=(Latent(width=width, height=height, batch=call.inputs["batch_size"]),))


async def encode_pixels(call: NodeCall) -> NodeResult:
    """Make latents of pictures.

    Args:
        call: With ``pixels``.
    """
    pixels: Pictures = call.inputs["pixels"]
    width, height = max(8, pixels[0].width // 8 * 8), max(8, pixels[0].height // 8 * 8)
    return NodeResult(outputs=(Latent(width=width, height=height, batch=len(pixels), pixels=pixels),))


async def sample(call: NodeCall) -> NodeResult:
    """Go through all steps of a sampler.

    Args:
        call: With the inputs of KSampler.
    """
    steps = call.inputs["steps"] if call.inputs["denoise"] > 0 else 0
    return await _sample(call, call.inputs["seed"], steps, float(call.inputs["denoise"]))


async def sample_part(call: NodeCall) -> NodeResult:
    """Go through some steps of a sampler.

    Args:
        call: With the inputs of KSamplerAdvanced.
    """
    last = min(call.inputs["end_at_step"], call.inputs["steps"])
    return await _sample(call, call.inputs["noise_seed"], max(0, last - call.inputs["start_at_step"]), 1.0)


async def _sample(call: NodeCall, seed: int, steps: int, denoise: float) -> NodeResult:
    inputs = call.inputs
    latent: Latent = inputs["latent_image"]
    guard_size(latent.width, latent.height, latent.batch)
    if call.live.failing("oom"):
        raise NodeError(_OUT_OF_MEMORY, "torch.OutOfMemoryError")
    sampling = Sampling(
        model=inputs["model"],
        positive=inputs["positive"].text,
        negative=inputs["negative"].text,
        seed=seed,
        steps=inputs["steps"],
        cfg=float(inputs["cfg"]),
        sampler=inputs["sampler_name"],
        scheduler=inputs["scheduler"],
        denoise=denoise,
    )
    sampled = replace(latent, sampling=sampling)
    preview = await to_thread.run_sync(_preview, sampled) if call.live.previews else None
    for number in range(1, steps + 1):
        await call.live.step()
        await call.live.tick(number, steps, preview)
    return NodeResult(outputs=(sampled,))


def _preview(latent: Latent) -> bytes:
    scale = _PREVIEW_SIDE / max(latent.width, latent.height, _PREVIEW_SIDE)
    size = (max(8, round(latent.width * scale)), max(8, round(latent.height * scale)))
    file = io.BytesIO()
    draw_slate(replace(latent, width=size[0], height=size[1]), 0).save(file, "JPEG", quality=85)
    return file.getvalue()


async def decode(call: NodeCall) -> NodeResult:
    """Make pictures of latents: slates of sampled ones, the old pictures of encoded ones, grey of empty ones.

    Args:
        call: With ``samples``.
    """
    latent: Latent = call.inputs["samples"]
    guard_size(latent.width, latent.height, latent.batch)
    return NodeResult(outputs=(await to_thread.run_sync(partial(_decoded, latent)),))


def _decoded(latent: Latent) -> Pictures:
    size = (latent.width, latent.height)
    if latent.sampling is not None:
        return tuple(draw_slate(latent, number) for number in range(latent.batch))
    if latent.pixels:
        return tuple(picture.crop((0, 0, *size)) for picture in latent.pixels)
    return (Image.new("RGB", size, (127, 127, 127)),) * latent.batch


async def measure(call: NodeCall) -> NodeResult:
    """Measure a batch, and tell every client.

    Args:
        call: With ``image``.
    """
    pictures: Pictures = call.inputs["image"]
    width, height = pictures[0].size
    call.live.say(call.node_id, f"width: {width}, height: {height}\n batch size: {len(pictures)}")
    values: tuple[Any, ...] = (width, height, len(pictures))
    return NodeResult(outputs=values)
