"""Running one prompt: the cache, the order, the messages, and every way it can end."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.sandbox.catalogue import NODE_CLASSES
from orchestrator_mcp.sandbox.live import LiveRun, Surroundings
from orchestrator_mcp.sandbox.nodes import run_node
from orchestrator_mcp.sandbox.nodes.values import InterruptedPrompt, NodeCall, NodeError, NodeResult, described
from orchestrator_mcp.sandbox.order import RunOrder
from orchestrator_mcp.sandbox.progress import (
    Progress,
)
from orchestrator_mcp.sandbox.prompts import Prompt
from orchestrator_mcp.sandbox.signatures import is_link, signatures
from orchestrator_mcp.sandbox.validation import full_type_name

_ALLOCATION_FAILURES = ("torch.OutOfMemoryError",)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a prompt ended.

    Attributes:
        outcome: ``success``, ``error`` or ``interrupted``.
        entry: Outputs, status and meta as the history shows them.
        cached: How many nodes were not run because their results were known.
        ran: How many nodes ran.
    """

    outcome: str
    entry: dict[str, Any]
    cached: int
    ran: int


class Execution:
    """One run of one prompt. An error outside a node escapes, and kills the worker as it does in ComfyUI."""

    def __init__(self, prompt: Prompt, around: Surroundings) -> None:
        """Prepare a run.

        Args:
            prompt: What to run.
            around: The server.
        """
        self._prompt = prompt
        self._around = around
        self._memory = around.memory
        self._messages: list[list[Any]] = []
        self._executed: dict[str, None] = {}
        self._owner = _client_of(prompt.extra)
        self._progress = Progress(prompt.prompt_id, self._owner, around.hub.send)
        self._signatures: dict[str, str] = {}

    async def run(self) -> Ended:
        """Run the prompt to its end.

        Returns:
            How it ended.

        Raises:
            KeyError: If a node that nothing needs has no ``inputs``.
        """
        memory = self._memory
        memory.interrupted = False
        memory.owner = self._owner
        self._tell("execution_start", {})
        faults = self._around.faults
        await self._around.bell.until(lambda: not faults.on("zombie-b"))
        graph = self._prompt.graph
        self._signatures = signatures(graph, self._around.folders.mark)
        wanted = set(self._signatures.values())
        memory.cache = {key: value for key, value in memory.cache.items() if key in wanted}
        cached = [node_id for node_id in graph if self._signatures[node_id] in memory.cache]
        self._tell("execution_cached", {"nodes": cached})
        outcome = await self._run_nodes(cached)
        memory.node = None
        return Ended(outcome=outcome, entry=self._entry(outcome), cached=len(cached), ran=len(self._executed))

    async def _run_nodes(self, cached: list[str]) -> str:
        order = RunOrder(self._prompt.graph, self._prompt.outputs, frozenset(cached))
        while (node_id := order.next()) is not None:
            inputs: dict[str, list[Any]] = {}
            try:
                await self._run_node(node_id, inputs)
            except InterruptedPrompt:
                self._tell_interrupted(node_id)
                return "interrupted"
            except Exception as error:  # noqa: BLE001 - supervision boundary: a node may raise anything
                self._tell_error(node_id, error, inputs)
                return "error"
            order.done(node_id)
        self._tell("execution_success", {})
        return "success"

    async def _run_node(self, node_id: str, inputs: dict[str, list[Any]]) -> None:
        key = self._signatures[node_id]
        known = self._memory.cache.get(key)
        if known is not None:
            self._tell_executed(node_id, None if known[1] is None else known[1]["output"])
            self._progress.finished(node_id)
            return
        self._memory.node = node_id
        inputs.update(self._gathered(node_id))
        self._progress.started(node_id)
        self._send_owned("executing", {"node": node_id, "display_node": node_id})
        if self._around.faults.on("runtime-error"):
            raise NodeError("the sandbox was told to fail (fault runtime-error)")
        results = await self._mapped(node_id, inputs)
        ui = _merged_ui(results)
        if ui is not None:
            self._tell_executed(node_id, ui)
        values = self._collected(node_id, results)
        self._memory.cache[key] = (values, None if ui is None else {"output": ui, "meta": _meta(node_id)})
        self._executed[node_id] = None
        self._progress.finished(node_id)

    def _gathered(self, node_id: str) -> dict[str, list[Any]]:
        """Look up each input's list of values, the hidden ones too."""
        node = self._prompt.graph[node_id]
        node_class = NODE_CLASSES[node["class_type"]]
        found: dict[str, list[Any]] = {}
        for name, value in node["inputs"].items():
            if is_link(value) and value[0] in self._signatures:
                found[name] = self._memory.cache[self._signatures[value[0]]][0][int(value[1])]
            elif name in node_class.required or name in node_class.optional:
                found[name] = [value]
        hidden = {
            "PROMPT": self._prompt.graph,
            "EXTRA_PNGINFO": self._prompt.extra.get("extra_pnginfo"),
            "UNIQUE_ID": node_id,
        }
        for name, kind in node_class.hidden.items():
            found[name] = [hidden[kind]]
        return found

    async def _mapped(self, node_id: str, inputs: Mapping[str, list[Any]]) -> list[NodeResult]:
        """Call a node once per list item, or once with whole lists; an interrupt is honoured before each call."""
        class_type = self._prompt.graph[node_id]["class_type"]
        live = LiveRun(node_id, self._prompt, self._around, self._progress)
        if NODE_CLASSES[class_type].takes_lists:
            await live.check()
            return [await run_node(class_type, self._call(node_id, dict(inputs), live))]
        results = []
        for place in range(max((len(values) for values in inputs.values()), default=1)):
            await live.check()
            item = {name: values[min(place, len(values) - 1)] for name, values in inputs.items()}
            results.append(await run_node(class_type, self._call(node_id, item, live)))
        return results

    def _call(self, node_id: str, inputs: dict[str, Any], live: LiveRun) -> NodeCall:
        return NodeCall(
            node_id=node_id,
            inputs=inputs,
            graph=self._prompt.graph,
            extra=self._prompt.extra,
            signature=self._signatures[node_id],
            folders=self._around.folders,
            moment=self._local_time(),
            live=live,
        )

    def _local_time(self) -> datetime:
        return self._around.clock.now().astimezone()

    def _collected(self, node_id: str, results: list[NodeResult]) -> list[list[Any]]:
        lists = NODE_CLASSES[self._prompt.graph[node_id]["class_type"]].lists
        collected: list[list[Any]] = []
        for slot, is_list in enumerate(lists):
            values = [result.outputs[slot] for result in results]
            collected.append([item for value in values for item in value] if is_list else values)
        return collected

    def _entry(self, outcome: str) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        meta: dict[str, Any] = {}
        for node_id, key in self._signatures.items():
            ui = self._memory.cache.get(key, (None, None))[1]
            if ui is not None:
                outputs[node_id] = ui["output"]
                meta[node_id] = ui["meta"]
        succeeded = outcome == "success"
        status = {
            "status_str": "success" if succeeded else "error",
            "completed": succeeded,
            "messages": self._messages,
        }
        return {"outputs": outputs, "status": status, "meta": meta}

    def _tell(self, event: str, facts: dict[str, Any], *, to_all: bool = False) -> None:
        message = {
            **facts,
            "prompt_id": self._prompt.prompt_id,
            "timestamp": to_millis(self._around.clock.now()),
        }
        self._messages.append([event, message])
        if self._owner is not None or to_all:
            self._around.hub.send(event, message, self._owner)

    def _send_owned(self, event: str, facts: dict[str, Any]) -> None:
        if self._owner is not None:
            self._around.hub.send(event, {**facts, "prompt_id": self._prompt.prompt_id}, self._owner)

    def _tell_executed(self, node_id: str, output: dict[str, Any] | None) -> None:
        self._send_owned("executed", {"node": node_id, "display_node": node_id, "output": output})

    def _tell_interrupted(self, node_id: str) -> None:
        facts = {
            "node_id": node_id,
            "node_type": self._prompt.graph[node_id]["class_type"],
            "executed": list(self._executed),
        }
        self._tell("execution_interrupted", facts, to_all=True)

    def _tell_error(self, node_id: str, error: Exception, inputs: Mapping[str, list[Any]]) -> None:
        kind = error.reported_type if isinstance(error, NodeError) else full_type_name(error)
        if kind in _ALLOCATION_FAILURES:
            self._memory.loaded = None
        facts = {
            "node_id": node_id,
            "node_type": self._prompt.graph[node_id]["class_type"],
            "executed": list(self._executed),
            "exception_message": f"{error}\n",
            "exception_type": kind,
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": {name: [_shown(value) for value in values] for name, values in inputs.items()},
            "current_outputs": list(self._prompt.graph),
        }
        self._tell("execution_error", facts)


def _client_of(extra: dict[str, Any]) -> str | None:
    client_id = extra.get("client_id")
    return client_id if isinstance(client_id, str) else None


def _meta(node_id: str) -> dict[str, Any]:
    return {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}


def _merged_ui(results: list[NodeResult]) -> dict[str, list[Any]] | None:
    """Join the ui parts of all calls, key by key."""
    merged: dict[str, list[Any]] | None = None
    for result in results:
        if result.ui is None:
            continue
        merged = merged or {}
        for key, values in result.ui.items():
            merged[key] = merged.get(key, []) + values
    return merged


def _shown(value: Any) -> Any:
    """Show an input in an error as ComfyUI does: plain values as they are, all else as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return described(value)
