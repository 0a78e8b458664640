"""Which documents are workflows, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.workflow_documents import as_manifest, is_around
from orchestrator_mcp.errors import ManifestError

GRAPH: dict[str, Any] = {"1": {"class_type": "EmptyImage", "inputs": {}}}
PAGE: dict[str, Any] = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "id": "b7e1", "extra": {}}


@pytest.mark.parametrize("workflow", [GRAPH, {"prompt": GRAPH, "client_id": "x"}, PAGE, {**PAGE, "prompt": {}}])
def test_a_workflow_becomes_a_manifest_with_it(workflow: dict[str, Any]) -> None:
    made = as_manifest(workflow, label="night train")
    assert made == {"workflow": workflow, "workflow_id": "night train"}
    assert Manifest.model_validate(made).workflow == workflow


@pytest.mark.parametrize(
    "document",
    [
        {"workflow_id": "a"},
        {"workflow": PAGE},
        {"workflow_json": GRAPH, "parameters": {}},
        {"workflow_id": "a", "prompt": {"1": {}}},
        {"id": "b7e1", "name": "Portrait", "workflow": PAGE, "parsed": {}},
        {},
        {"parameters": {"prompt": "a cat"}},
        {"prompt": "a cat"},
        {"nodes": {"1": 2}},
    ],
)
def test_any_other_document_stays_what_it_is(document: dict[str, Any]) -> None:
    assert as_manifest(document, label="a") is document


def test_a_broken_graph_is_one_all_the_same_so_that_its_nodes_are_told() -> None:
    broken = {"1": {"class_type": "A"}, "2": 7}
    assert as_manifest(broken) == {"workflow": broken}


@given(label=st.text())
def test_whatever_a_file_is_called_its_label_is_one_that_a_manifest_takes(label: str) -> None:
    made = as_manifest(GRAPH, label=label)
    assert is_around(made)
    assert Manifest.model_validate(made).workflow == GRAPH


def test_the_result_of_a_batch_is_refused_because_it_would_become_one_job_of_its_workflow() -> None:
    result = {"schema": "orchestrator-batch/1", "workflow_id": "portrait", "parameters": {"steps": 3}, "jobs": []}
    with pytest.raises(ManifestError) as refused:
        as_manifest(result)
    [problem] = refused.value.problems
    assert (problem.path, problem.code) == (("schema",), "batch_result")
    assert "one of its jobs" in (refused.value.hint or "")
