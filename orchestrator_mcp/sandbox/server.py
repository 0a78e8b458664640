"""One sandbox server: its state, its worker, and its life on a port."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.abc
from anyio import to_thread

from orchestrator_mcp.clock import Clock, SystemClock, to_millis
from orchestrator_mcp.sandbox.bell import Bell
from orchestrator_mcp.sandbox.catalogue import NODE_CLASSES
from orchestrator_mcp.sandbox.definitions import NodeClass
from orchestrator_mcp.sandbox.execution import Ended, Execution
from orchestrator_mcp.sandbox.faults import FaultSet
from orchestrator_mcp.sandbox.folders import Folders
from orchestrator_mcp.sandbox.listening import Listener
from orchestrator_mcp.sandbox.live import Memory, Surroundings
from orchestrator_mcp.sandbox.options import SandboxOptions, parse_version
from orchestrator_mcp.sandbox.oracle import Oracle, file_hashes, marker_of
from orchestrator_mcp.sandbox.prompts import Prompt, PromptQueue
from orchestrator_mcp.sandbox.sockets import SocketHub

logger = logging.getLogger(__name__)

_LOST_ID_VERSION = "0.3.40"


class SandboxServer:
    """A ComfyUI-compatible server on one port of this process.

    Attributes:
        options: What was chosen for it; models may come and go while it runs.
        folders: Where its files lie.
        oracle: What really happened on it.
    """

    def __init__(
        self, options: SandboxOptions, folders: Folders, listener: Listener, clock: Clock | None = None
    ) -> None:
        """Make a server that does not listen yet.

        Args:
            options: What was chosen.
            folders: Where its files lie.
            listener: Its port.
            clock: Where time comes from; the machine's clock by default.
        """
        self.options = options
        self.folders = folders
        self.clock = clock or SystemClock()
        self.bell = Bell()
        self.faults = FaultSet(options.faults, changed=self.bell.ring)
        self.oracle = Oracle(options.oracle)
        self._listener = listener
        self._tasks: anyio.abc.TaskGroup | None = None
        self._life: anyio.CancelScope | None = None
        self._ended = anyio.Event()
        self._reset()

    def _reset(self) -> None:
        self.memory = Memory()
        self.hub = SocketHub(self.faults, self.features)
        self.queue = PromptQueue(bell=self.bell, changed=self._queue_changed)
        self.next_number = 0
        self.free_wanted: dict[str, bool] = {}

    @property
    def node_classes(self) -> dict[str, NodeClass]:
        """The node classes that it has now, by their ``class_type``."""
        return {name: one for name, one in NODE_CLASSES.items() if name not in self.options.without}

    @property
    def features(self) -> dict[str, Any]:
        """What the server says it can do."""
        return {"supports_preview_metadata": True, "max_upload_size": self.options.max_body}

    @property
    def alive(self) -> bool:
        """Whether it serves now."""
        return self._life is not None

    @property
    def port(self) -> int:
        """The port, known as soon as the server is made."""
        return self._listener.port

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        host = f"[{self._listener.host}]" if ":" in self._listener.host else self._listener.host
        return f"http://{host}:{self.port}"

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._listener.host

    @property
    def version(self) -> tuple[int, ...]:
        """The imitated version, in numbers."""
        return parse_version(self.version_text)

    @property
    def version_text(self) -> str:
        """The imitated version, as the wire shows it."""
        return _LOST_ID_VERSION if self.faults.on("lose-prompt-id") else self.options.comfyui_version

    def set_fault(self, fault: str) -> None:
        """Turn a fault on.

        Args:
            fault: ``name`` or ``name:argument`` (see ``faults.FAULTS``).

        Raises:
            ValueError: If there is no such fault.
        """
        self.faults.set(fault)

    def clear_faults(self, *names: str) -> None:
        """Turn faults off.

        Args:
            names: Which ones; all if none is named.
        """
        self.faults.clear(*names)

    async def start(self, tasks: anyio.abc.TaskGroup | None = None) -> None:
        """Listen and work, with nothing in the queue, the history, the cache or the temp folder.

        Args:
            tasks: Where the worker runs; the same as last time by default.

        Raises:
            OSError: If the port is taken.
            RuntimeError: If the server runs already, or has no task group yet.
        """
        self._tasks = tasks or self._tasks
        if self._tasks is None or self._life is not None:
            raise RuntimeError(f"the sandbox on port {self.port} runs already, or was never given a task group")
        self._reset()
        await to_thread.run_sync(self.folders.prepare)
        await self._listener.open()
        self._life = anyio.CancelScope()
        self._ended = anyio.Event()
        self._tasks.start_soon(self._live, self._life, name=f"sandbox {self.port}")

    async def stop(self) -> None:
        """Stop at once, as a killed process does: connections are cut, everything in memory is lost."""
        if self._life is None:
            return
        life, self._life = self._life, None
        with anyio.CancelScope(shield=True):
            await self._listener.close()
            life.cancel()
            await self._ended.wait()

    async def close(self) -> None:
        """Stop for good, and let go of the port and the oracle's file."""
        await self.stop()
        await self._listener.close()
        self.oracle.close()

    async def restart(self) -> None:
        """Stop and start again on the same port."""
        await self.stop()
        await self.start()

    def cut(self, client: tuple[str, int] | None) -> None:
        """Cut one client's connection without another byte.

        Args:
            client: The client's address and port, from the request's scope.
        """
        self._listener.cut(client)

    async def until(self, condition: Callable[[SandboxServer], bool]) -> None:
        """Wait in the same process until something is true of this server; looked at as its queue or faults change.

        Args:
            condition: A quick look, such as ``lambda server: server.queue.running is not None``.
        """
        await self.bell.until(lambda: condition(self))

    async def until_ended(self, prompt_id: str) -> dict[str, Any]:
        """Wait in the same process until a prompt is in the history.

        Args:
            prompt_id: Which one.

        Returns:
            Its history entry.
        """
        await self.bell.until(lambda: prompt_id in self.queue.history)
        return self.queue.history[prompt_id]

    def accept(self, prompt: Prompt) -> None:
        """Queue a prompt and note it.

        Args:
            prompt: A checked prompt.

        Raises:
            TypeError: If it ties with another one; it is queued nevertheless.
        """
        self.oracle.write(
            "accepted",
            port=self.port,
            prompt_id=prompt.prompt_id,
            number=prompt.number,
            marker=marker_of(prompt.extra),
            at=to_millis(self.clock.now()),
        )
        self.queue.put(prompt)

    def interrupt(self) -> None:
        """Ask the running prompt to stop."""
        self.memory.interrupted = True
        self.bell.ring()

    def free(self, **wanted: bool) -> None:
        """Unload models and drop caches after the running prompt, or now if there is none.

        Args:
            wanted: ``unload_models`` and ``free_memory``.
        """
        self.free_wanted.update(wanted)
        if self.queue.running is None:
            self._free_now()

    def status(self) -> dict[str, Any]:
        """Give what ``status`` messages and ``GET /prompt`` show."""
        return {"exec_info": {"queue_remaining": self.queue.remaining()}}

    def running_node(self, client_id: str) -> str | None:
        """Give the node that runs now for a client.

        Args:
            client_id: Whose prompt.
        """
        return self.memory.node if self.memory.owner == client_id else None

    def choices(self, source: str) -> list[str]:
        """List the options of a live combo.

        Args:
            source: A model folder, or ``pictures``.
        """
        if source == "pictures":
            return self.folders.pictures()
        names = self.options.models_in(source)
        return [*names, "pixel_space"] if source == "vae" else names

    async def _live(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self.hub.publish)
                    group.start_soon(self._work)
        finally:
            self._ended.set()

    async def _work(self) -> None:
        """Run prompts one by one; an error outside a node ends this for good, and HTTP goes on, as in ComfyUI."""
        while True:
            try:
                prompt = await self.queue.take(blocked=lambda: self.faults.on("zombie-a"))
                await self._run(prompt)
            except Exception as error:  # noqa: BLE001 - supervision boundary: the worker dies, the server goes on
                logger.warning("The worker of the sandbox on port %d died of %r", self.port, error)
                return

    async def _run(self, prompt: Prompt) -> None:
        around = Surroundings(
            options=self.options,
            faults=self.faults,
            folders=self.folders,
            memory=self.memory,
            hub=self.hub,
            bell=self.bell,
            clock=self.clock,
        )
        started, loads = to_millis(self.clock.now()), self.memory.loads
        ended = await Execution(prompt, around).run()
        await self._note_end(prompt, ended, started, self.memory.loads - loads)
        delay = self.faults.number("history-delay")
        if delay is not None:
            await self.clock.sleep(delay / 1000)
        entry = {"outputs": ended.entry["outputs"]} if self.faults.on("history-silent") else ended.entry
        self.queue.finish(entry, forget=self.faults.on("history-forget"))
        if self.memory.owner is not None:
            self.hub.send("executing", {"node": None, "prompt_id": prompt.prompt_id}, self.memory.owner)
        self._free_now()

    async def _note_end(self, prompt: Prompt, ended: Ended, started: int, loads: int) -> None:
        kinds = {"output": self.folders.output, "temp": self.folders.temp, "input": self.folders.input}
        hash_files = partial(file_hashes, ended.entry["outputs"], kinds)
        files = await to_thread.run_sync(hash_files) if ended.entry["outputs"] else {}
        self.oracle.write(
            "ended",
            port=self.port,
            prompt_id=prompt.prompt_id,
            number=prompt.number,
            marker=marker_of(prompt.extra),
            started=started,
            ended=to_millis(self.clock.now()),
            outcome=ended.outcome,
            nodes_run=ended.ran,
            nodes_cached=ended.cached,
            loads=loads,
            files=files,
        )

    def _free_now(self) -> None:
        wanted, self.free_wanted = self.free_wanted, {}
        if wanted.get("unload_models") or wanted.get("free_memory"):
            self.memory.loaded = None
        if wanted.get("free_memory"):
            self.memory.cache = {}

    def _queue_changed(self) -> None:
        self.bell.ring()
        self.hub.send("status", {"status": self.status()}, None)
