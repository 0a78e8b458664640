"""The node classes that a sandbox has, described as ComfyUI 0.3.64 describes its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from orchestrator_mcp.sandbox.definitions import NodeClass, Slot, link, one_of, present, real, text, whole
from orchestrator_mcp.sandbox.vocabulary import CLIP_KINDS, DUAL_CLIP_KINDS, SAMPLERS, SCHEDULERS

_SIDE = 16384
_BATCH = 4096
_SEED = 2**64 - 1

_EXTRAS = "comfy_extras.nodes_"
_SAVED_WITH = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}

_UPSCALE = one_of("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
_DEVICE = {"device": one_of("default", "cpu", advanced=True)}


def _size() -> Slot:
    return whole(512, 1, _SIDE, 1)


def _latent_size(default: int, step: int) -> dict[str, Slot]:
    return {
        "width": whole(default, 16, _SIDE, step),
        "height": whole(default, 16, _SIDE, step),
        "batch_size": whole(1, 1, _BATCH),
    }


_PICTURE = (("IMAGE", "IMAGE"),)
_MASK = (("MASK", "MASK"),)

_PICTURES = (
    NodeClass(
        name="EmptyImage",
        category="image",
        display_name="EmptyImage",
        required={
            "width": _size(),
            "height": _size(),
            "batch_size": whole(1, 1, _BATCH),
            "color": whole(0, 0, 0xFFFFFF, 1, display="color"),
        },
        outputs=_PICTURE,
        description="Makes pictures of one colour.",
    ),
    NodeClass(
        name="LoadImage",
        category="image",
        display_name="Load Image",
        required={"image": present("pictures", image_upload=True)},
        outputs=_PICTURE + _MASK,
        description="Reads a picture of the input folder.",
    ),
    NodeClass(
        name="LoadImageMask",
        category="mask",
        display_name="Load Image (as Mask)",
        required={
            "image": present("pictures", image_upload=True),
            "channel": one_of("alpha", "red", "green", "blue"),
        },
        outputs=_MASK,
        description="Reads one channel of a picture of the input folder.",
    ),
    NodeClass(
        name="SolidMask",
        category="mask",
        display_name="SolidMask",
        module=_EXTRAS + "mask",
        required={"value": real(1.0, 0.0, 1.0, 0.01), "width": _size(), "height": _size()},
        outputs=_MASK,
        description="Makes a mask of one value.",
    ),
    NodeClass(
        name="ImageInvert",
        category="image",
        display_name="Invert Image",
        required={"image": link("IMAGE")},
        outputs=_PICTURE,
        description="Turns every colour into its opposite.",
    ),
    NodeClass(
        name="ImageScale",
        category="image/upscaling",
        display_name="Upscale Image",
        required={
            "image": link("IMAGE"),
            "upscale_method": _UPSCALE,
            "width": whole(512, 0, _SIDE, 1),
            "height": whole(512, 0, _SIDE, 1),
            "crop": one_of("disabled", "center"),
        },
        outputs=_PICTURE,
        description="Scales to a size; a side of 0 follows the other one.",
    ),
    NodeClass(
        name="ImageScaleBy",
        category="image/upscaling",
        display_name="Upscale Image By",
        required={
            "image": link("IMAGE"),
            "upscale_method": _UPSCALE,
            "scale_by": real(1.0, 0.01, 8.0, 0.01),
        },
        outputs=_PICTURE,
        description="Scales by a factor.",
    ),
    NodeClass(
        name="ImageCrop",
        category="image/transform",
        display_name="Image Crop",
        module=_EXTRAS + "images",
        required={
            "image": link("IMAGE"),
            "width": _size(),
            "height": _size(),
            "x": whole(0, 0, _SIDE, 1),
            "y": whole(0, 0, _SIDE, 1),
        },
        outputs=_PICTURE,
        description="Cuts a rectangle out.",
    ),
    NodeClass(
        name="ImageBlur",
        category="image/postprocessing",
        display_name=None,
        module=_EXTRAS + "post_processing",
        required={
            "image": Slot(kind="IMAGE", config={}),
            "blur_radius": whole(1, 1, 31, 1),
            "sigma": real(1.0, 0.1, 10.0, 0.1),
        },
        outputs=_PICTURE,
        newer_style=True,
    ),
    NodeClass(
        name="ImageBatch",
        category="image",
        display_name="Batch Images",
        required={"image1": link("IMAGE"), "image2": link("IMAGE")},
        outputs=_PICTURE,
        description="Puts two batches one after the other, in the size of the first.",
    ),
    NodeClass(
        name="ImageFromBatch",
        category="image/batch",
        display_name="ImageFromBatch",
        module=_EXTRAS + "images",
        required={
            "image": link("IMAGE"),
            "batch_index": whole(0, 0, _BATCH - 1),
            "length": whole(1, 1, _BATCH),
        },
        outputs=_PICTURE,
        description="Takes some pictures of a batch.",
    ),
    NodeClass(
        name="RepeatImageBatch",
        category="image/batch",
        display_name="RepeatImageBatch",
        module=_EXTRAS + "images",
        required={"image": link("IMAGE"), "amount": whole(1, 1, _BATCH)},
        outputs=_PICTURE,
        description="Repeats a batch.",
    ),
    NodeClass(
        name="RebatchImages",
        category="image/batch",
        display_name="Rebatch Images",
        module=_EXTRAS + "rebatch",
        required={"images": Slot(kind="IMAGE", config={}), "batch_size": whole(1, 1, _BATCH)},
        outputs=_PICTURE,
        output_lists=(True,),
        newer_style=True,
        takes_lists=True,
    ),
    NodeClass(
        name="ImageToMask",
        category="mask",
        display_name="Convert Image to Mask",
        module=_EXTRAS + "mask",
        required={"image": link("IMAGE"), "channel": one_of("red", "green", "blue", "alpha")},
        outputs=_MASK,
        description="Makes a mask of one channel.",
    ),
    NodeClass(
        name="MaskToImage",
        category="mask",
        display_name="Convert Mask to Image",
        module=_EXTRAS + "mask",
        required={"mask": link("MASK")},
        outputs=_PICTURE,
        description="Makes a grey picture of a mask.",
    ),
    NodeClass(
        name="GetImageSize",
        category="image",
        display_name="Get Image Size",
        module=_EXTRAS + "images",
        required={"image": link("IMAGE")},
        hidden={"unique_id": "UNIQUE_ID"},
        outputs=(("INT", "width"), ("INT", "height"), ("INT", "batch_size")),
        description="Measures a batch of pictures.",
    ),
)

_OUTPUTS = (
    NodeClass(
        name="PreviewAny",
        category="utils",
        display_name="Preview Any",
        module=_EXTRAS + "preview_any",
        required={"source": Slot(kind="*", config={})},
        output_node=True,
        description="Shows a value as text.",
    ),
    NodeClass(
        name="SaveImage",
        category="image",
        display_name="Save Image",
        required={
            "images": link("IMAGE", tooltip="The pictures that are written."),
            "filename_prefix": text(
                default="ComfyUI",
                tooltip="How the file names begin; may hold a subfolder and variables such as %width%.",
            ),
        },
        hidden=_SAVED_WITH,
        output_node=True,
        description="Writes the pictures to the output folder as PNG.",
    ),
    NodeClass(
        name="PreviewImage",
        category="image",
        display_name="Preview Image",
        required={"images": link("IMAGE")},
        hidden=_SAVED_WITH,
        output_node=True,
        description="Writes the pictures to the temp folder as PNG.",
    ),
    NodeClass(
        name="SaveAnimatedWEBP",
        category="image/animation",
        display_name="SaveAnimatedWEBP",
        module=_EXTRAS + "images",
        required={
            "images": link("IMAGE"),
            "filename_prefix": text(default="ComfyUI"),
            "fps": real(6.0, 0.01, 1000.0, 0.01),
            "lossless": Slot(kind="BOOLEAN", config={"default": True}),
            "quality": whole(80, 0, 100),
            "method": one_of("default", "fastest", "slowest"),
        },
        hidden=_SAVED_WITH,
        output_node=True,
        description="Writes the pictures to the output folder as one animation.",
    ),
)

_LOADERS = (
    NodeClass(
        name="CheckpointLoaderSimple",
        category="loaders",
        display_name="Load Checkpoint",
        required={"ckpt_name": present("checkpoints", tooltip="Which checkpoint file is loaded.")},
        outputs=(("MODEL", "MODEL"), ("CLIP", "CLIP"), ("VAE", "VAE")),
        description="Loads a checkpoint.",
    ),
    NodeClass(
        name="UNETLoader",
        category="advanced/loaders",
        display_name="Load Diffusion Model",
        required={
            "unet_name": present("diffusion_models"),
            "weight_dtype": one_of("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"),
        },
        outputs=(("MODEL", "MODEL"),),
        description="Loads a diffusion model.",
    ),
    NodeClass(
        name="CLIPLoader",
        category="advanced/loaders",
        display_name="Load CLIP",
        required={"clip_name": present("text_encoders"), "type": one_of(*CLIP_KINDS)},
        optional=_DEVICE,
        outputs=(("CLIP", "CLIP"),),
        description="Loads a text encoder.",
    ),
    NodeClass(
        name="DualCLIPLoader",
        category="advanced/loaders",
        display_name="DualCLIPLoader",
        required={
            "clip_name1": present("text_encoders"),
            "clip_name2": present("text_encoders"),
            "type": one_of(*DUAL_CLIP_KINDS),
        },
        optional=_DEVICE,
        outputs=(("CLIP", "CLIP"),),
        description="Loads two text encoders.",
    ),
    NodeClass(
        name="VAELoader",
        category="loaders",
        display_name="Load VAE",
        required={"vae_name": present("vae")},
        outputs=(("VAE", "VAE"),),
        description="Loads a VAE.",
    ),
    NodeClass(
        name="LoraLoader",
        category="loaders",
        display_name="Load LoRA",
        required={
            "model": link("MODEL", tooltip="The model that is changed."),
            "clip": link("CLIP", tooltip="The text encoder that is changed."),
            "lora_name": present("loras", tooltip="Which LoRA file is loaded."),
            "strength_model": real(1.0, -100.0, 100.0, 0.01),
            "strength_clip": real(1.0, -100.0, 100.0, 0.01),
        },
        outputs=(("MODEL", "MODEL"), ("CLIP", "CLIP")),
        description="Applies a LoRA to a model and its text encoder.",
    ),
)


def _sampler_choice() -> dict[str, Slot]:
    return {
        "steps": whole(20, 1, 10000),
        "cfg": real(8.0, 0.0, 100.0, 0.1, round=0.01),
        "sampler_name": one_of(*SAMPLERS),
        "scheduler": one_of(*SCHEDULERS),
        "positive": link("CONDITIONING"),
        "negative": link("CONDITIONING"),
        "latent_image": link("LATENT"),
    }


_LATENT = (("LATENT", "LATENT"),)

_SAMPLING = (
    NodeClass(
        name="CLIPTextEncode",
        category="conditioning",
        display_name="CLIP Text Encode (Prompt)",
        required={"text": text(multiline=True, dynamicPrompts=True), "clip": link("CLIP")},
        outputs=(("CONDITIONING", "CONDITIONING"),),
        description="Makes a conditioning of a text.",
    ),
    NodeClass(
        name="EmptyLatentImage",
        category="latent",
        display_name="Empty Latent Image",
        required=_latent_size(512, 8),
        outputs=_LATENT,
        description="Makes empty latents of a size.",
    ),
    NodeClass(
        name="EmptySD3LatentImage",
        category="latent/sd3",
        display_name=None,
        module=_EXTRAS + "sd3",
        required=_latent_size(1024, 16),
        outputs=_LATENT,
        newer_style=True,
    ),
    NodeClass(
        name="KSampler",
        category="sampling",
        display_name="KSampler",
        required={
            "model": link("MODEL"),
            "seed": whole(0, 0, _SEED, control_after_generate=True),
            **_sampler_choice(),
            "denoise": real(1.0, 0.0, 1.0, 0.01),
        },
        outputs=_LATENT,
        description="Samples a latent.",
    ),
    NodeClass(
        name="KSamplerAdvanced",
        category="sampling",
        display_name="KSampler (Advanced)",
        required={
            "model": link("MODEL"),
            "add_noise": one_of("enable", "disable"),
            "noise_seed": whole(0, 0, _SEED, control_after_generate=True),
            **_sampler_choice(),
            "start_at_step": whole(0, 0, 10000),
            "end_at_step": whole(10000, 0, 10000),
            "return_with_leftover_noise": one_of("disable", "enable"),
        },
        outputs=_LATENT,
        description="Samples some of the steps of a latent.",
    ),
    NodeClass(
        name="VAEEncode",
        category="latent",
        display_name="VAE Encode",
        required={"pixels": link("IMAGE"), "vae": link("VAE")},
        outputs=_LATENT,
        description="Makes latents of pictures.",
    ),
    NodeClass(
        name="VAEDecode",
        category="latent",
        display_name="VAE Decode",
        required={"samples": link("LATENT"), "vae": link("VAE")},
        outputs=_PICTURE,
        description="Makes pictures of latents; of sampled ones, a slate.",
    ),
)

NODE_CLASSES: Mapping[str, NodeClass] = MappingProxyType(
    {one.name: one for one in (*_PICTURES, *_OUTPUTS, *_LOADERS, *_SAMPLING)}
)
"""Every node class of the sandbox, by its ``class_type``."""
