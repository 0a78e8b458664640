"""What a running node may do to its server: wait, tell progress, load a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.sandbox.bell import Bell
from orchestrator_mcp.sandbox.faults import FaultSet
from orchestrator_mcp.sandbox.folders import Folders
from orchestrator_mcp.sandbox.nodes.values import InterruptedPrompt
from orchestrator_mcp.sandbox.options import SandboxOptions
from orchestrator_mcp.sandbox.progress import Progress, described_preview_frame, plain_preview_frame, text_frame
from orchestrator_mcp.sandbox.prompts import Prompt
from orchestrator_mcp.sandbox.sockets import SocketHub


@dataclass(kw_only=True)
class Memory:
    """What a server remembers between prompts; lost at a restart.

    Attributes:
        cache: Results of the previous prompt's nodes by signature: value lists per output, and the ui part.
        loaded: The model that is loaded, or None.
        loads: How many loads there were since the start.
        interrupted: Whether the running prompt was asked to stop.
        owner: The ``client_id`` of the last prompt that ran.
        node: The node that runs now.
    """

    cache: dict[str, tuple[list[list[Any]], dict[str, Any] | None]] = field(default_factory=dict)
    loaded: str | None = None
    loads: int = 0
    interrupted: bool = False
    owner: str | None = None
    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an execution needs of its server."""

    options: SandboxOptions
    faults: FaultSet
    folders: Folders
    memory: Memory
    hub: SocketHub
    bell: Bell
    clock: Clock


class LiveRun:
    """The side of a running node that touches the world; see ``nodes.values.Live``."""

    def __init__(self, node_id: str, prompt: Prompt, around: Surroundings, progress: Progress) -> None:
        """Prepare the calls of one node.

        Args:
            node_id: The node.
            prompt: The running prompt.
            around: The server.
            progress: The states of the prompt's nodes.
        """
        self._node_id = node_id
        self._prompt = prompt
        self._around = around
        self._progress = progress
        self._stopped: Callable[[], bool] = lambda: (
            around.memory.interrupted and not around.faults.on("ignore-interrupt")
        )

    @property
    def previews(self) -> bool:
        """Whether samplers send preview pictures."""
        return self._around.options.previews

    def failing(self, fault: str) -> bool:
        """Tell whether a fault is on.

        Args:
            fault: One of ``faults.FAULTS``.
        """
        return self._around.faults.on(fault)

    async def check(self) -> None:
        """Stand still while frozen, and fail if the prompt is interrupted."""
        faults = self._around.faults
        if faults.on("freeze"):
            await self._around.bell.until(lambda: self._stopped() or not faults.on("freeze"))
        if self._stopped():
            raise InterruptedPrompt

    async def step(self) -> None:
        """Work for one simulated step.

        Raises:
            InterruptedPrompt: If the prompt is interrupted.
        """
        await self.check()
        await self._work(self._around.options.step_ms)
        await self.check()

    async def tick(self, value: int, total: int, preview: bytes | None) -> None:
        """Tell clients how far the node has come.

        Args:
            value: Steps done.
            total: Steps in all.
            preview: A JPEG, or None.

        Raises:
            InterruptedPrompt: If the prompt is interrupted.
        """
        await self.check()
        hub, prompt_id, node_id = self._around.hub, self._prompt.prompt_id, self._node_id
        owner = self._around.memory.owner
        described = hub.wants_metadata(owner)
        self._progress.moved(node_id, value, total)
        if preview is not None and described:
            hub.send_frame(described_preview_frame(prompt_id, node_id, preview), owner)
        hub.send("progress", {"value": value, "max": total, "prompt_id": prompt_id, "node": node_id}, owner)
        if preview is not None and not described:
            hub.send_frame(plain_preview_frame(preview), owner)

    async def load(self, model: str) -> None:
        """Make a model the loaded one.

        Args:
            model: Its file name.

        Raises:
            InterruptedPrompt: If the prompt is interrupted.
        """
        memory = self._around.memory
        if memory.loaded == model:
            return
        memory.loaded = None
        await self._work(self._around.options.load_ms)
        memory.loaded = model
        memory.loads += 1
        await self.check()

    def say(self, node_id: str, text: str) -> None:
        """Send a progress text to every client.

        Args:
            node_id: The node that says it.
            text: What it says.
        """
        self._around.hub.send_frame(text_frame(node_id, text), None)

    async def _work(self, milliseconds: float) -> None:
        await self._around.bell.within(milliseconds / 1000, self._stopped)
