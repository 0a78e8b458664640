"""An attempt before it is sent: its graph is made, its turn is awaited, and what the render begins with is brought.

Nothing of this changes what the backend will render: whoever ends an attempt here need not ask it anything.
"""

from __future__ import annotations

import logging

import anyio

from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.domain.jobs import Graph, Outcome
from orchestrator_mcp.domain.retry import Ended
from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.errors import PromptRejectedError
from orchestrator_mcp.scheduler.bringing import bring, lacking
from orchestrator_mcp.scheduler.freeing import free_before
from orchestrator_mcp.scheduler.resources import Resources
from orchestrator_mcp.scheduler.wishes import Wishes
from orchestrator_mcp.store import OpenAttempt
from orchestrator_mcp.workflows.checking import spelled
from orchestrator_mcp.workflows.input_files import with_files
from orchestrator_mcp.workflows.parameters import apply
from orchestrator_mcp.workflows.prefixes import isolate_outputs

log = logging.getLogger(__name__)


class Preparation:
    """Makes one attempt ready to be sent.

    Args:
        resources: see `Resources`.
        held: the attempt, as it was claimed or adopted.
        wishes: what somebody wants of it.
    """

    def __init__(self, resources: Resources, held: OpenAttempt, wishes: Wishes) -> None:
        self._resources = resources
        self._held = held
        self._wishes = wishes
        self._turn = anyio.Event()
        self._names: dict[str, str] = {}
        self._brought_again = False

    @property
    def has_turn(self) -> bool:
        """It waits behind no other attempt, or somebody wants its end."""
        return self._turn.is_set()

    def has_its_turn(self) -> None:
        """Let it go on: it waits behind no other attempt, or somebody wants its end."""
        self._turn.set()

    def graph_for(self, backend: Backend) -> Graph:
        """The graph with all its values, as the backend spells them, and a place of its own for its outputs.

        Args:
            backend: where it is to be rendered.
        """
        spec = self._held.spec
        graph = apply(self._held.graph, spec.targets, {**spec.parameters, **spec.values}, spec.seeds)
        if backend.catalogue is not None:
            graph = spelled(graph, backend.catalogue)
        return isolate_outputs(with_files(graph, spec.inputs), self._held.job_id, self._held.number)

    async def wait_for_turn(self, backend: Backend) -> None:
        """While the render before it goes on; afterwards its backend may be one that takes no such job.

        Args:
            backend: where it is to be rendered.
        """
        if self._turn.is_set():
            return
        await bring(self._resources, backend, self._held.spec.inputs)  # what fails now will fail again
        await self._turn.wait()
        refused = self._resources.pool.refuses(backend, self._held.lane)
        if refused is not None and not self._wishes.any:
            self._wishes.take_back(f"taken back: {refused}")

    async def ready(self, backend: Backend, graph: Graph) -> Graph | Ended:
        """Do all that is to be done before it is sent.

        Args:
            backend: where it is to be rendered.
            graph: see `graph_for`.

        Returns:
            The graph with its files as the backend names them; or how the attempt ends, of which nothing was sent.
        """
        await self.wait_for_turn(backend)
        if self._wishes.any:
            return self.unsent()
        self._resources.at_step(Step.INTENT)
        names = await bring(self._resources, backend, self._held.spec.inputs)
        if isinstance(names, Ended):
            return names
        if self._wishes.any:  # bringing a film may take a while
            return self.unsent()
        self._names = names
        self._resources.at_step(Step.BROUGHT)
        await free_before(backend, self._held.lane)
        return with_files(graph, self._held.spec.inputs, names)

    def must_bring_again(self, backend: Backend, error: PromptRejectedError) -> bool:
        """Whether the backend refused the graph because it has lost input files: once they are brought anew.

        Args:
            backend: that refused it.
            error: its words.
        """
        gone = lacking(error, self._held.spec.inputs, self._names)
        if not gone or self._brought_again:
            return False
        log.warning("the backend has lost input files; they are brought again: %s", error.message)
        self._brought_again = True
        backend.inputs.forget(gone)
        return True

    def unsent(self) -> Ended:
        """The end of an attempt of which nothing was sent."""
        if self._wishes.cancel:
            return Ended(outcome=Outcome.CANCELLED, reason="cancelled before it was sent")
        return Ended(outcome=Outcome.REVOKED, reason=self._wishes.why or "taken back before it was sent")
