"""A dry run: a manifest goes the whole way in, and stops before it is stored."""

from __future__ import annotations

from orchestrator_mcp.domain.dry_runs import DryRunView, ProspectView
from orchestrator_mcp.domain.text import told, without_secrets
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service.acceptance import bound_graph
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.preflight import Preflight
from orchestrator_mcp.service.submission import Submission, Submissions


class DryRuns:
    """Tries manifests without queueing anything.

    Args:
        submissions: takes manifests in.
        preflight: asks the backends.
        gate: how much one caller may ask for.
    """

    def __init__(self, *, submissions: Submissions, preflight: Preflight, gate: Gate) -> None:
        self._submissions = submissions
        self._preflight = preflight
        self._gate = gate

    async def try_out(self, wanted: Submission) -> DryRunView:
        """Say what a manifest would become. Nothing is stored, and its idempotency key is not taken.

        Args:
            wanted: a manifest, and how it came.

        Raises:
            ManifestError: it would be refused, also because no backend can run it.
            NotFoundError: no such workflow.
            TooLargeError: the graph is over its limit.
            TooManyError: this caller is too fast; a dry run counts as a submission.
        """
        if wanted.manifest.batch is not None:
            message = "a dry run is of one job; give each parameter one value"
            raise ManifestError.at("batch", message=message, code="dry_run")
        self._gate.pass_submission(wanted.by)
        new = await self._submissions.prepared(wanted)
        await self._preflight.require_able(new)
        prospects = await self._preflight.prospects(new)
        free = any(one.can_run and self._preflight.is_free(one.backend_id) for one in prospects)
        return DryRunView(
            workflow_id=new.workflow_id,
            parameters=without_secrets(new.spec.parameters),
            seeds=new.spec.seeds,
            graph=without_secrets(bound_graph(new.graph, new.spec)),
            warnings=[told(warning) for warning in new.spec.warnings],
            backends=[
                ProspectView(
                    backend_id=one.backend_id, can_run=one.can_run, reasons=[told(reason) for reason in one.reasons]
                )
                for one in prospects
            ],
            would_wait=not free,
        )
