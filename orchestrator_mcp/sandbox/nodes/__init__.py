"""What each node class does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from anyio import to_thread

from orchestrator_mcp.sandbox.nodes import pictures, sampling, saving
from orchestrator_mcp.sandbox.nodes.values import NodeCall, NodeResult

__all__ = ["run_node"]

_IN_THREADS: Mapping[str, Callable[[NodeCall], NodeResult]] = MappingProxyType(
    {
        "EmptyImage": pictures.empty_image,
        "LoadImage": pictures.load_image,
        "LoadImageMask": pictures.load_image_mask,
        "SolidMask": pictures.solid_mask,
        "ImageInvert": pictures.image_invert,
        "ImageScale": pictures.image_scale,
        "ImageScaleBy": pictures.image_scale_by,
        "ImageCrop": pictures.image_crop,
        "ImageBatch": pictures.image_batch,
        "ImageFromBatch": pictures.image_from_batch,
        "RepeatImageBatch": pictures.repeat_image_batch,
        "RebatchImages": pictures.rebatch_images,
        "ImageToMask": pictures.image_to_mask,
        "MaskToImage": pictures.mask_to_image,
        "PreviewAny": saving.preview_any,
        "SaveImage": saving.save_image,
        "PreviewImage": saving.preview_image,
        "SaveAnimatedWEBP": saving.save_animated_webp,
    }
)


async def _blur(call: NodeCall) -> NodeResult:
    """Blur in a thread, and take one step of simulated time per picture: the slow node of the sandbox."""
    for _ in call.inputs["image"]:
        await call.live.step()
    return await to_thread.run_sync(pictures.image_blur, call)


_ON_THE_LOOP: Mapping[str, Callable[[NodeCall], Awaitable[NodeResult]]] = MappingProxyType(
    {
        "ImageBlur": _blur,
        "GetImageSize": sampling.measure,
        "CheckpointLoaderSimple": sampling.load_checkpoint,
        "UNETLoader": sampling.load_unet,
        "CLIPLoader": sampling.load_clip,
        "DualCLIPLoader": sampling.load_clip,
        "VAELoader": sampling.load_vae,
        "LoraLoader": sampling.load_lora,
        "CLIPTextEncode": sampling.encode_text,
        "EmptyLatentImage": sampling.empty_latent,
        "EmptySD3LatentImage": sampling.empty_latent,
        "KSampler": sampling.sample,
        "KSamplerAdvanced": sampling.sample_part,
        "VAEEncode": sampling.encode_pixels,
        "VAEDecode": sampling.decode,
    }
)


async def run_node(class_type: str, call: NodeCall) -> NodeResult:
    """Call a node once; pictures are worked on in threads.

    Args:
        class_type: Its class, one of the catalogue.
        call: Its inputs and surroundings.

    Returns:
        What it gave.

    Raises:
        NodeError: If it fails as the real one would.
        InterruptedPrompt: If the prompt is interrupted while it works.
    """
    if class_type in _ON_THE_LOOP:
        return await _ON_THE_LOOP[class_type](call)
    return await to_thread.run_sync(_IN_THREADS[class_type], call)
