"""What holds of every rerun, whatever the graph, the parameters and the changes are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.jobs import Door, Graph, Job, JobState
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service.acceptance import JobTemplate, bound_graph
from orchestrator_mcp.service.drafts import Draft
from orchestrator_mcp.service.reruns import Earlier, names_of
from orchestrator_mcp.store import NewJob, StoredJob
from tests.workflows.graphs import STEADY

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["prompt", "negative_prompt", "seed", "steps", "width", "6.text", "7.text", "3.seed", "3.steps", "5.width"]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    name: st.sampled_from(["a fox", "a hare"])
    if "text" in name or "prompt" in name
    else st.sampled_from([-1, 7, 9])
    if "seed" in name
    else st.sampled_from([8, 16])
    for name in NAMES
}
PARAMETERS = st.lists(st.sampled_from(NAMES), max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
)


def graph_with(seed: int) -> Graph:
    links = {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "model": ["4", 0]}
    return {
        "3": {"class_type": "KSampler", "inputs": {"seed": seed, "steps": 20, "cfg": 7.5, **links}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    }


def accepted(graph: Graph, manifest: Manifest, earlier: Earlier | None = None) -> NewJob:
    template = JobTemplate(
        Draft(graph, manifest.workflow),
        manifest,
        () if earlier is None else earlier.declared,
        asked=manifest,
        door=Door.HTTP,
        owner="anonymous",
        stem=None,
        claim=None,
        warnings=(),
        now=NOW,
    )
    new = template.job(manifest.parameters)
    return new if earlier is None else earlier.carried(new)


def earlier_of(new: NewJob) -> Earlier:
    """The job as the store gives it back."""
    job = Job(
        job_id=new.job_id,
        state=JobState.COMPLETED,
        workflow_id=new.workflow_id,
        parameters=new.spec.parameters,
        metadata=new.spec.metadata,
        seeds=new.spec.seeds,
        priority=new.priority,
        door=new.door,
        owner=new.owner,
        submitted_at=NOW,
    )
    stored = StoredJob(
        row=1, job=job, spec=new.spec, lane=LaneSpec(), lane_id=1, rank=0, due=0, seq=1, claim=None, delivered=True
    )
    return Earlier(
        stored=stored,
        graph=new.graph,
        rendered=bound_graph(new.graph, new.spec),
        declared=names_of(new.spec, ()),
    )


def done_again(new: NewJob, changes: dict[str, Any]) -> NewJob:
    earlier = earlier_of(new)
    manifest = earlier.manifest(Manifest(rerun_of=new.job_id, parameters=changes))
    assert manifest.workflow is not None
    return accepted(earlier.rendered, manifest, earlier)


def first_job(seed: int, parameters: dict[str, Any]) -> NewJob | None:
    graph = graph_with(seed)
    try:
        return accepted(graph, Manifest(workflow=graph, parameters=parameters))
    except ManifestError:  # two names set one input to different values
        return None


@STEADY
@given(st.sampled_from([-1, 42]), PARAMETERS)
def test_without_changes_the_same_graph_is_sent_and_the_same_is_shown(seed: int, parameters: dict[str, Any]) -> None:
    first = first_job(seed, parameters)
    if first is None:
        return
    again = done_again(done_again(first, {}), {})
    assert bound_graph(again.graph, again.spec) == bound_graph(first.graph, first.spec)
    assert again.graph == first.graph
    assert (again.spec.parameters, again.spec.seeds) == (first.spec.parameters, first.spec.seeds)
    assert again.spec.warnings == []


@STEADY
@given(st.sampled_from([-1, 42]), PARAMETERS, PARAMETERS)
def test_changes_change_their_inputs_and_nothing_else(
    seed: int, parameters: dict[str, Any], changes: dict[str, Any]
) -> None:
    first = first_job(seed, parameters)
    if first is None:
        return
    try:
        again = done_again(first, changes)
    except ManifestError:
        return
    before, after = bound_graph(first.graph, first.spec), bound_graph(again.graph, again.spec)
    touched = {target: name for name in changes for target in again.spec.targets[name]}
    for node, said in after.items():
        for name, value in said["inputs"].items():
            target = f"{node}.{name}"
            if target not in touched:
                assert value == before[node]["inputs"][name], target
            elif changes[touched[target]] == -1:
                assert value >= 0
            else:
                assert value == changes[touched[target]]
    assert all(again.spec.parameters[name] == value for name, value in changes.items())
    assert again.spec.seeds == {"3.seed": after["3"]["inputs"]["seed"]}
