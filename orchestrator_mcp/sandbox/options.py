"""What can be chosen about a sandbox server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator_mcp.sandbox.faults import FaultSet

DEFAULT_VERSION = "0.3.64"

DEFAULT_MODELS: tuple[str, ...] = (
    "checkpoints/sd15.safetensors",
    "checkpoints/sdxl.safetensors",
    "diffusion_models/flux1-dev.safetensors",
    "loras/film-grain.safetensors",
    "loras/line-art.safetensors",
    "text_encoders/clip_l.safetensors",
    "text_encoders/t5xxl_fp16.safetensors",
    "vae/ae.safetensors",
)
"""The model files a sandbox has unless told otherwise: enough for every loader to offer something."""

MODEL_FOLDERS: tuple[str, ...] = (
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "custom_nodes",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
)
"""The folder names that ComfyUI 0.3.64 answers to ``GET /models``, in its order."""

_LEGACY_FOLDERS = {"unet": "diffusion_models", "clip": "text_encoders"}


def parse_version(text: str) -> tuple[int, ...]:
    """Turn a version such as ``0.3.64`` into numbers that compare.

    Args:
        text: Dotted whole numbers.

    Returns:
        The numbers, in order.

    Raises:
        ValueError: If a part is not a whole number.
    """
    return tuple(int(part) for part in text.split("."))


def split_model(model: str) -> tuple[str, str]:
    """Split ``folder/name`` into the canonical folder and the name as combos show it.

    Args:
        model: For example ``checkpoints/sd15.safetensors``; the name may hold subfolders.

    Returns:
        The folder (today's word for a legacy one) and the name.

    Raises:
        ValueError: If there is no known folder or no name.
    """
    folder, _, name = model.partition("/")
    folder = _LEGACY_FOLDERS.get(folder, folder)
    if folder not in MODEL_FOLDERS or not name:
        raise ValueError(f"model {model!r} is not folder/name with a folder ComfyUI knows ({', '.join(MODEL_FOLDERS)})")
    return folder, name


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """How one sandbox server behaves.

    Attributes:
        step_ms: Simulated work per sampler step, and per picture in ImageBlur; milliseconds, 0 or more.
        load_ms: Simulated time to load a checkpoint or diffusion model that is not the last loaded one.
        models: Model files as ``folder/name``; the loaders list these and no others.
        without: Node classes that this server does not have, as if their pack were not installed.
        comfyui_version: The version that is imitated; decides a few old and new behaviours.
        previews: Whether samplers send a preview picture at each step.
        faults: Faults set from the start, as ``name`` or ``name:argument`` (see ``faults.SERVER_FAULTS``).
        oracle: File to which every accepted and every ended prompt is appended as a JSON line.
        folder: Where ``input``, ``output`` and ``temp`` lie; None makes a temporary folder.
        max_body: Largest request body taken, in bytes.
    """

    step_ms: float = 5.0
    load_ms: float = 0.0
    models: tuple[str, ...] = DEFAULT_MODELS
    without: tuple[str, ...] = ()
    comfyui_version: str = DEFAULT_VERSION
    previews: bool = False
    faults: tuple[str, ...] = ()
    oracle: Path | None = None
    folder: Path | None = None
    max_body: int = 100 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse what could not work, before a port is opened."""
        if self.step_ms < 0 or self.load_ms < 0:
            raise ValueError("step_ms and load_ms are milliseconds, 0 or more")
        parse_version(self.comfyui_version)
        for model in self.models:
            split_model(model)
        FaultSet(self.faults, changed=lambda: None)

    def models_in(self, folder: str) -> list[str]:
        """List the model names of one folder, sorted as a directory listing would be.

        Args:
            folder: One of ``MODEL_FOLDERS``.

        Returns:
            The names without the folder.
        """
        pairs = (split_model(model) for model in self.models)
        return sorted(name for found, name in pairs if found == folder)
