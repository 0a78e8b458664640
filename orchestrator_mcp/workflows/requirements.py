"""What a graph needs from a backend: node classes, and model files by the names that its loaders say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.lanes import ModelFile, Requirements
from orchestrator_mcp.domain.views import ParameterType
from orchestrator_mcp.workflows.links import Target, class_of, distances, unlinked

MODEL_INPUTS: Final = frozenset(
    {
        "ckpt_name",
        "unet_name",
        "clip_name",
        "clip_name1",
        "clip_name2",
        "clip_name3",
        "clip_name4",
        "vae_name",
        "lora_name",
        "control_net_name",
        "style_model_name",
        "gligen_name",
        "hypernetwork_name",
        "diffusion_model_name",
        "upscale_model_name",
        "model_name",
    }
)
"""Inputs of ComfyUI's own loaders (and of most packs) that name a file in one of its model folders."""

MODEL_ENDINGS: Final = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".gguf", ".bin", ".onnx")
FILE_LOADERS: Final = frozenset(
    {"LoadImage", "LoadImageMask", "LoadImageOutput", "LoadVideo", "LoadAudio", "LoadLatent"}
)
"""ComfyUI's own nodes that open a file of its input folder by name."""

FILE_INPUTS: Final[dict[tuple[str, str], ParameterType]] = {
    ("LoadImage", "image"): "image",
    ("LoadImageMask", "image"): "mask",
    ("LoadVideo", "file"): "video",
    ("LoadAudio", "audio"): "audio",
}
"""Inputs of ComfyUI's own nodes that name a file which a caller brings, by class and input."""

_TEXT_INPUTS = frozenset({"text", "prompt", "filename_prefix"})
_MAX_NAME = 400  # characters
_MAX_KEY = 200  # characters
_ESCAPING = re.compile(r"^[\\/]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)")


def requirements(graph: Graph) -> Requirements:
    """Collect what a graph needs, from every node, whether an output depends on it or not.

    Args:
        graph: a checked graph.
    """
    return Requirements(
        node_classes=frozenset(class_of(graph, node) for node in graph),
        models=frozenset(model for _, model in named_models(graph)),
    )


def model_key(graph: Graph) -> str:
    """A name for the set of models that a graph loads; equal keys find each other's models warm.

    The order is that of loading: what lies farther from the end of the graph comes first. Node ids, strengths and
    the way a system writes folders do not matter.

    Args:
        graph: a checked graph.

    Returns:
        At most 200 characters; empty when the graph loads no model.
    """
    far = distances(graph)
    order = sorted({(far[target.node], model.input, model.name) for target, model in named_models(graph)})
    names = list(dict.fromkeys(name for _, _, name in order))
    key = " + ".join(names)
    if len(key) <= _MAX_KEY:
        return key
    return f"{names[0][: _MAX_KEY - 40]} #{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def leaves_its_folder(graph: Graph, target: Target, value: object) -> bool:
    """Whether a value would make a loader open a file outside the backend's own folders.

    Args:
        graph: the graph, for the class of the node.
        target: the input.
        value: what stands there, or is to stand there.
    """
    if not isinstance(value, str):
        return False
    if target.input not in MODEL_INPUTS and class_of(graph, target.node) not in FILE_LOADERS:
        return False
    return _ESCAPING.search(value) is not None


def named_models(graph: Graph) -> Iterator[tuple[Target, ModelFile]]:
    """Every model that a graph names, with the input that names it, in the graph's order.

    Args:
        graph: a checked graph.
    """
    for target, value in unlinked(graph):
        if isinstance(value, str) and names_a_model(target.input, value):
            name = value.replace("\\", "/")
            yield target, ModelFile(class_type=class_of(graph, target.node), input=target.input, name=name)


def names_a_model(name: str, value: str) -> bool:
    """Whether a text at an input is the name of a model file.

    Args:
        name: the input.
        value: the text.
    """
    if not value or len(value) > _MAX_NAME or "\n" in value or value.casefold() == "none":
        return False
    return name in MODEL_INPUTS or (name not in _TEXT_INPUTS and value.casefold().endswith(MODEL_ENDINGS))
