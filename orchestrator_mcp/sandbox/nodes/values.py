"""What flows along the links of a graph, and how a node is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from PIL import Image

from orchestrator_mcp.sandbox.folders import Folders

Pictures = tuple[Image.Image, ...]
"""A batch: RGB pictures for IMAGE, one-channel ones for MASK. Never changed in place."""

MAX_BATCH_BYTES = 1 << 28


class NodeError(Exception):
    """A node failed as the real one would.

    Args:
        message: What ComfyUI would say.
        reported_type: The exception type that ComfyUI would name.
    """

    def __init__(self, message: str, reported_type: str = "RuntimeError") -> None:
        """Keep the type beside the message."""
        super().__init__(message)
        self.reported_type = reported_type


class InterruptedPrompt(Exception):
    """The running prompt was interrupted."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model: its file and the LoRAs on it with their strengths."""

    name: str
    loras: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Loaded text encoders."""

    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Vae:
    """A loaded VAE."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """An encoded text, which is simply kept."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Everything a sampler was told; what a slate shows."""

    model: Model
    positive: str
    negative: str
    seed: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    denoise: float


@dataclass(frozen=True, kw_only=True)
class Latent:
    """A batch of latents.

    Attributes:
        width: Of the decoded picture, in pixels.
        height: Of the decoded picture, in pixels.
        batch: How many.
        pixels: The pictures it was encoded from, if any.
        sampling: The last sampler it went through, if any.
    """

    width: int
    height: int
    batch: int
    pixels: Pictures = field(default=(), repr=False)
    sampling: Sampling | None = None


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """What one call of a node gave.

    Attributes:
        outputs: One value per output slot.
        ui: What history and the ``executed`` message show, or None.
    """

    outputs: tuple[Any, ...] = ()
    ui: dict[str, list[Any]] | None = None


class Live(Protocol):
    """What a node may do to the world while it runs; everything here is on the event loop."""

    async def step(self) -> None:
        """Work for one step of simulated time; fails if the prompt is interrupted."""

    async def tick(self, value: int, total: int, preview: bytes | None) -> None:
        """Tell clients about progress; fails if the prompt is interrupted."""

    async def load(self, model: str) -> None:
        """Make a model the loaded one, which takes time if it is another one."""

    def say(self, node_id: str, text: str) -> None:
        """Send a progress text to every client."""

    def failing(self, fault: str) -> bool:
        """Whether a fault is on."""

    @property
    def previews(self) -> bool:
        """Whether samplers send preview pictures."""


@dataclass(frozen=True, kw_only=True)
class NodeCall:
    """One call of one node.

    Attributes:
        node_id: Its id in the graph.
        inputs: The value of every input that is given.
        graph: The whole graph, for embedding.
        extra: The prompt's ``extra_data``.
        signature: The node's cache key.
        folders: Where files lie.
        moment: The local time, for file names.
        live: Progress, waiting and faults.
    """

    node_id: str
    inputs: Mapping[str, Any]
    graph: Mapping[str, Any]
    extra: Mapping[str, Any]
    signature: str
    folders: Folders
    moment: datetime
    live: Live


def described(value: Any) -> str:
    """Write any value that flows along a link as text.

    Args:
        value: The value; batches of pictures are counted and measured.
    """
    if isinstance(value, tuple) and value and isinstance(value[0], Image.Image):
        first = value[0]
        return f"{len(value)} x {first.mode} {first.width}x{first.height}"
    return str(value)


def guard_size(width: int, height: int, count: int, channels: int = 3) -> None:
    """Refuse a batch that would not fit into memory, as an allocator does.

    Args:
        width: In pixels.
        height: In pixels.
        count: How many pictures.
        channels: Bytes per pixel.

    Raises:
        NodeError: If the batch is too large.
    """
    size = width * height * channels * count
    if size > MAX_BATCH_BYTES:
        raise NodeError(
            f"[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: "
            f"you tried to allocate {size * 4} bytes. Error code 12 (Cannot allocate memory)"
        )
