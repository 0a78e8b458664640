"""A job that was is done again: exactly, or with changes.

The changes are bound to the graph as it was rendered, in which every seed and default is a plain value. What they do
not touch is carried over from the first job, so that neither a new draw nor a changed workflow file can creep in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio.to_thread

from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.text import without_secrets
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ForbiddenError, ManifestError, NotFoundError
from orchestrator_mcp.service.acceptance import resolved_graph
from orchestrator_mcp.store import JobSpec, JobStore, NewJob, StoredJob
from orchestrator_mcp.workflows.graph import graph_hash
from orchestrator_mcp.workflows.library import WorkflowLibrary

_LARGE_DOCUMENT = 64 * 1024  # characters from which a thread resolves it


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A job that is to be done again.

    Attributes:
        stored: the job.
        graph: before its values were bound.
        rendered: with every value bound.
        declared: what its names set, as they did then.
    """

    stored: StoredJob
    graph: Graph
    rendered: Graph
    declared: Sequence[ParameterView]

    def manifest(self, wanted: Manifest) -> Manifest:
        """The manifest of the first job with the changes of this one; its workflow is the rendered graph.

        Args:
            wanted: names the job and the changes.
        """
        job, given = self.stored.job, wanted.model_fields_set
        changes: dict[str, object] = {
            "workflow_id": job.workflow_id,
            "workflow": self.rendered,
            "metadata": {**_undated(job.metadata), **wanted.metadata},
        }
        if "priority" not in given:
            changes["priority"] = job.priority
        if "backend_affinity" not in given:
            changes["backend_affinity"] = job.backend_affinity
        if "required_capabilities" not in given:
            changes["required_capabilities"] = job.required_capabilities
        return wanted.model_copy(update=changes)

    def carried(self, new: NewJob) -> NewJob:
        """The new job with all that its changes do not touch.

        Args:
            new: made from `manifest`, bound to the rendered graph.
        """
        spec = _merged(self.stored.spec, new.spec)
        stored_as = graph_hash(self.graph)
        lane = replace(new.lane, workflow=new.lane.workflow or self.stored.lane.workflow)
        return replace(
            new, graph=self.graph, graph_hash=stored_as, lane=lane, spec=spec, rerun_of=self.stored.job.job_id
        )


def _undated(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a first job was labelled with, but for when it was to be done."""
    return {name: value for name, value in metadata.items() if name != "deadline"}


class Reruns:
    """Finds jobs that are to be done again.

    Args:
        store: where they are.
        library: the named workflows; what they declare still counts where the graph is the same.
    """

    def __init__(self, store: JobStore, library: WorkflowLibrary) -> None:
        self._store = store
        self._library = library

    async def find(self, manifest: Manifest, by: Caller) -> Earlier | None:
        """The job that a manifest does again; None when it brings a workflow of its own.

        Args:
            manifest: what the caller wants.
            by: who wants it.

        Raises:
            NotFoundError: it is not there, or not any more.
            ForbiddenError: it holds secrets of somebody else.
        """
        job_id = manifest.rerun_of
        if job_id is None or manifest.workflow is not None:
            return None
        try:
            stored = await self._store.job(job_id.casefold())
        except NotFoundError as error:
            if not error.near:
                error.hint = "If it was pruned, drop its result.json into the Inbox: the graph in it is rendered again."
            raise
        document = await self._store.document(stored.row)
        read = partial(_rendered, document, stored.spec)
        graph, rendered, secret = await anyio.to_thread.run_sync(read) if len(document) > _LARGE_DOCUMENT else read()
        if secret and not by.may_end(stored.job.owner):
            raise ForbiddenError(
                f"The job {job_id} holds secrets of {stored.job.owner!r}: only its owner or an admin may do it again.",
                hint="Use the token that it was submitted with, or one with the scope admin.",
            )
        declared = await self._declared(stored.job.workflow_id, graph)
        return Earlier(stored=stored, graph=graph, rendered=rendered, declared=names_of(stored.spec, declared))

    async def _declared(self, workflow_id: str, graph: Graph) -> Sequence[ParameterView]:
        """What the library declares of the very same graph."""
        try:
            named = await self._library.get(workflow_id)
        except (NotFoundError, ManifestError):
            return ()
        return named.declared if named.graph == graph else ()


def _rendered(document: str, spec: JobSpec) -> tuple[Graph, Graph, bool]:
    graph: Graph = json.loads(document)
    rendered = resolved_graph(document, spec)
    return graph, rendered, without_secrets(rendered) != rendered


def names_of(spec: JobSpec, declared: Sequence[ParameterView]) -> list[ParameterView]:
    """The parameters of the first job under their names, and what is declared; nothing is due that was not then."""
    views = [view.model_copy(update={"default": None, "required": False}) for view in declared]
    known = {view.name for view in views}
    return views + [
        ParameterView(name=name, targets=targets)
        for name, targets in spec.targets.items()
        if targets and name not in known
    ]


def _merged(old: JobSpec, new: JobSpec) -> JobSpec:
    """What holds of both: the new where it says something, the old elsewhere."""
    changed = {target for targets in new.targets.values() for target in targets}
    kept = {
        name: left
        for name, targets in old.targets.items()
        if name not in new.targets and (left := [target for target in targets if target not in changed])
    }
    labels = {name for name in old.parameters if not old.targets.get(name)}
    parameters = {name: value for name, value in old.parameters.items() if name in kept or name in labels}
    handovers = [
        replace(handover, targets=left)
        for handover in old.handovers
        if (left := [target for target in handover.targets if target not in changed])
    ]
    handovers += new.handovers
    fresh = {one.target for one in new.inputs} | changed
    inputs = [*(one for one in old.inputs if one.target not in fresh), *new.inputs]
    return replace(
        new,
        parameters={**parameters, **new.parameters},
        targets={**kept, **new.targets},
        values={**{name: value for name, value in old.values.items() if name in kept}, **new.values},
        inputs=inputs,
        handovers=handovers,
        parents=list(dict.fromkeys([*new.parents, *(handover.job_id for handover in handovers)])),
    )
