"""Which jobs a manifest waits for, and what it wants of them: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator_mcp.domain.chains import MOST_PARENTS, Handover
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.references import JobReference, parse_reference
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.input_files import file_inputs
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes


def handovers(
    parameters: Mapping[str, object],
    targets: Mapping[str, Sequence[str]],
    graph: Graph,
    declared: Sequence[ParameterView] = (),
    types: InputTypes = UNKNOWN_TYPES,
) -> list[Handover]:
    """The outputs of other jobs that parameters name (`job:<id>/<name>`).

    Args:
        parameters: as the caller gave them.
        targets: the inputs that each of them sets, as `node.input`.
        graph: the workflow.
        declared: the parameters that it declares.
        types: what its inputs take, as far as the backends say.
    """
    references = {name: found for name in targets if (found := _job_in(parameters.get(name))) is not None}
    if not references:
        return []
    kinds = file_inputs(graph, declared, types)
    return [
        Handover(
            parameter=name,
            targets=list(targets[name]),
            job_id=reference.job_id,
            name=reference.name,
            kind=next((kinds[target] for target in targets[name] if target in kinds), ""),
        )
        for name, reference in references.items()
    ]


def parents(depends_on: Sequence[str], wanted: Sequence[Handover]) -> list[str]:
    """Every job that must be done first, each once.

    Args:
        depends_on: those that the manifest names.
        wanted: what it wants of jobs.

    Raises:
        ManifestError: there are more than 32.
    """
    if not depends_on and not wanted:
        return []
    found = list(dict.fromkeys([*depends_on, *(handover.job_id for handover in wanted)]))
    if len(found) > MOST_PARENTS:
        raise ManifestError.at(
            "depends_on",
            message=f"the job would wait for {len(found)} others; at most {MOST_PARENTS} are taken",
            code="too_many_parents",
            hint="Put a job between: it waits for some of them, and this one for it.",
        )
    return found


def is_of_a_job(value: object) -> bool:
    """Whether a value is what another job made."""
    return _job_in(value) is not None


def _job_in(value: object) -> JobReference | None:
    if not (isinstance(value, str) and value.startswith("job:")):
        return None
    try:
        reference = parse_reference(value)
    except ValueError:  # "job: a man at work" is a text; where a file is wanted, it is refused with these words
        return None
    return reference if isinstance(reference, JobReference) else None
