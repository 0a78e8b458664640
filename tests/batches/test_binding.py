"""Jobs of a batch that are written after another one are what each would be alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.access import LOCAL
from orchestrator_mcp.domain.batches import expand
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service.batch_binding import BoundBatch, single
from orchestrator_mcp.service.drafts import Draft
from orchestrator_mcp.service.inputs import Settled
from orchestrator_mcp.service.submission import Ground, Submission
from orchestrator_mcp.service.workflows import FoundWorkflow
from orchestrator_mcp.store import JobSpec, NewJob

GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "cfg": 7.0, "model": ["4", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "first.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
    "8": {"class_type": "Switch", "inputs": {"on": True, "noise_seed": 7}},
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 2**64 - 1) | st.just(7.0),
    "3.cfg": st.floats(0, 100) | st.integers(0, 100),
    "steps": st.sampled_from([10, 20, 40, 20.0]),
    "4.ckpt_name": st.sampled_from(["first.safetensors", "second.safetensors"]),
    "6.text": TEXTS | st.sampled_from(['"\\u00000"', "%s", "100%", f"job:{'0' * 8}-0000-7000-8000-{'0' * 12}/a.png"]),
    "8.on": st.booleans(),
}


def ground(batch: dict[str, Any], declared: list[ParameterView], **fields: Any) -> Ground:
    manifest = Manifest.model_validate({"workflow": GRAPH, "batch": batch, **fields})
    found = FoundWorkflow(
        draft=Draft(manifest.workflow or {}), declared=declared, required_capabilities=[], warnings=[]
    )
    wanted = Submission(manifest=manifest, door=Door.HTTP, by=LOCAL)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return Ground(wanted=wanted, manifest=manifest, found=found, earlier=None, warnings=[], now=now, share_by="source")


def together(at: Ground) -> tuple[list[dict[str, Any]], BoundBatch]:
    rows = expand(at.manifest.batch or {}, at.manifest.parameters)
    settled = Settled(manifest=single(at.manifest, rows[0]), asked=at.manifest)
    return rows, BoundBatch(at, rows, [(settled, range(len(rows)))])


def alone(at: Ground, parameters: dict[str, Any]) -> NewJob:
    manifest = single(at.manifest, parameters)
    return at.only_job(Settled(manifest=manifest, asked=manifest))


def drawn(spec: JobSpec) -> list[int]:
    return list(spec.seeds.values())


@given(
    batch=st.fixed_dictionaries(
        {}, optional={name: st.lists(one, min_size=1, max_size=4) for name, one in VALUES.items()}
    )
    .filter(bool)
    .map(lambda names: dict(list(names.items())[:3])),
    declared=st.sampled_from([[], [ParameterView(name="seed", type="integer", default=5, targets=["3.seed"])]]),
)
def test_each_job_of_a_batch_is_what_it_would_be_alone(batch: dict[str, Any], declared: list[ParameterView]) -> None:
    at = ground(batch, declared)
    rows, bound = together(at)
    made = bound.whole()
    for index, row in enumerate(rows):
        one = alone(at, row)
        assert JobSpec.from_json(made.specs[index]) == one.spec
        assert made.specs[index] == one.spec.to_json()
        assert made.lanes[made.lane_of[index]] == one.lane
        assert (index in made.linked) == bool(one.spec.parents)


@pytest.mark.parametrize(
    ("batch", "fields"),
    [
        ({"3.seed": [-1, -1, 7, -1]}, {}),
        ({"6.text": ["a", "b", "c", "d"]}, {"parameters": {"seed": -1}}),
        (
            {"6.text": ["a", "b", "c", "d"]},
            {"workflow": {**GRAPH, "8": {"class_type": "Switch", "inputs": {"on": True, "noise_seed": -1}}}},
        ),
    ],
)
def test_each_job_draws_its_own_seeds(batch: dict[str, Any], fields: dict[str, Any]) -> None:
    _, bound = together(ground(batch, [], **fields))
    specs = [JobSpec.from_json(text) for text in bound.whole().specs]
    assert -1 not in {seed for spec in specs for seed in drawn(spec)}
    assert len({tuple(drawn(spec)) for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("name", "values", "wrong"),
    [
        ("3.seed", [1, 2, 2**64, -7], 3),
        ("3.seed", [1, 2.5, 3, "four"], 2),
        ("steps", [1, 2, None], 3),
        ("3.cfg", [1.0, float("inf"), float("nan")], 2),
        ("3.cfg", [1.0, True], 2),
        ("6.text", ["a", "b", "c\0"], 3),
        ("4.ckpt_name", ["first.safetensors", "../../secret.safetensors"], 2),
        ("8.on", [True, False, 1], 3),
    ],
)
def test_the_first_value_that_cannot_be_is_told_with_its_job(name: str, values: list[Any], wrong: int) -> None:
    at = ground({name: values, "8.noise_seed": [1]}, [])
    with pytest.raises(ManifestError, match=rf"\(job {wrong} of {len(values)}, ") as refused:
        together(at)
    assert refused.value.problems[0].path[:2] == ("batch", name)


@pytest.mark.parametrize(
    ("rule", "values", "wrong"),
    [({"minimum": 1, "maximum": 9}, [5, 1, 9, 10, 0], 4), ({"choices": [1, 3, 5]}, [1, 5, 3, 2, 4], 4)],
)
def test_every_value_is_held_against_what_is_declared(rule: dict[str, Any], values: list[int], wrong: int) -> None:
    view = ParameterView(name="steps", type="integer", targets=["3.steps"], **rule)
    with pytest.raises(ManifestError, match=rf"\(job {wrong} of 5, "):
        together(ground({"seed": [1], "steps": values}, [view]))


def test_two_names_for_one_input_still_have_to_agree_in_every_job() -> None:
    with pytest.raises(ManifestError, match="to another value"):
        together(ground({"seed": [1, 2, 3], "3.seed": [1, 2, 4], "mode": "zip"}, []))
