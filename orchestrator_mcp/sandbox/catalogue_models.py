"""The node classes around models, described as ComfyUI 0.3.64 describes its own."""

from __future__ import annotations

from orchestrator_mcp.sandbox.definitions import NodeClass, Slot, link, one_of, present, real, text, whole
from orchestrator_mcp.sandbox.vocabulary import CLIP_KINDS, DUAL_CLIP_KINDS, SAMPLERS, SCHEDULERS

_SIDE = 16384
_BATCH = 4096
_EXTRAS = "comfy_extras.nodes_"
_SEED = 2**64 - 1

_DEVICE = {"device": one_of("default", "cpu", advanced=True)}

LOADING: tuple[NodeClass, ...] = (
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
"""Classes that load model files."""


def _latent_size(default: int, step: int) -> dict[str, Slot]:
    return {
        "width": whole(default, 16, _SIDE, step),
        "height": whole(default, 16, _SIDE, step),
        "batch_size": whole(1, 1, _BATCH),
    }


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

SAMPLING: tuple[NodeClass, ...] = (
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
        outputs=(("IMAGE", "IMAGE"),),
        description="Makes pictures of latents; of sampled ones, a slate.",
    ),
)
"""Classes that stand between a loader and a picture."""
