"""What a caller hands in: every field's rules."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator_mcp.domain.manifests import Manifest, unknown_fields

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}


def read(**fields: Any) -> Manifest:
    return Manifest.model_validate({"workflow_id": "card", **fields})


def test_the_smallest_manifest_has_the_documented_defaults() -> None:
    manifest = Manifest.model_validate({"workflow_id": "card"})
    assert manifest.model_dump() == {
        "workflow_id": "card",
        "workflow": None,
        "parameters": {},
        "metadata": {},
        "priority": 0,
        "backend_affinity": None,
        "required_capabilities": (),
        "idempotency_key": None,
        "batch": None,
        "depends_on": (),
        "deadline": None,
        "rerun_of": None,
    }


def test_a_graph_may_be_called_workflow_or_workflow_json_or_both_when_they_agree() -> None:
    for fields in ({"workflow": GRAPH}, {"workflow_json": GRAPH}, {"workflow": GRAPH, "workflow_json": GRAPH}):
        assert Manifest.model_validate(fields).workflow == GRAPH
    assert Manifest.model_validate({"workflow": None, "workflow_json": GRAPH}).workflow == GRAPH
    assert Manifest.model_validate({"workflow": GRAPH, "workflow_json": None}).workflow == GRAPH
    assert Manifest.model_validate({"workflow_id": "portrait", "workflow_json": None}).workflow is None


def test_null_stands_for_nothing_where_old_programs_send_it() -> None:
    manifest = read(parameters=None, metadata=None, required_capabilities=None, backend_affinity=None)
    assert (manifest.parameters, manifest.metadata, manifest.required_capabilities) == ({}, {}, ())


def test_null_is_kept_inside_parameters_and_metadata() -> None:
    assert read(metadata={"shot": None}).metadata == {"shot": None}


def test_capabilities_are_labels_without_case_order_or_doubles() -> None:
    assert read(required_capabilities=["SDXL", " flux ", "sdxl"]).required_capabilities == ("flux", "sdxl")


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_every_priority_of_the_range_is_taken(priority: int) -> None:
    assert read(priority=priority).priority == priority


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"workflow_id": None}, ()),
        ({"workflow_id": ""}, ("workflow_id",)),
        ({"workflow_id": "x" * 201}, ("workflow_id",)),
        ({"workflow_id": "a\nb"}, ("workflow_id",)),
        ({"workflow_id": 7}, ("workflow_id",)),
        ({"workflow": "a name"}, ("workflow",)),
        ({"workflow": [GRAPH]}, ("workflow",)),
        ({"workflow": GRAPH, "workflow_json": {}}, ()),
        ({"parameters": [1]}, ("parameters",)),
        ({"parameters": "steps=3"}, ("parameters",)),
        ({"metadata": "storyboard"}, ("metadata",)),
        ({"priority": 101}, ("priority",)),
        ({"priority": -101}, ("priority",)),
        ({"priority": "soon"}, ("priority",)),
        ({"priority": 1.5}, ("priority",)),
        ({"priority": None}, ("priority",)),
        ({"priority": True}, ("priority",)),
        ({"priority": False}, ("priority",)),
        ({"backend_affinity": ""}, ("backend_affinity",)),
        ({"backend_affinity": "a\x7fb"}, ("backend_affinity",)),
        ({"backend_affinity": ["a"]}, ("backend_affinity",)),
        ({"required_capabilities": "sdxl"}, ("required_capabilities",)),
        ({"required_capabilities": [""]}, ("required_capabilities", 0)),
        ({"required_capabilities": ["a", 1]}, ("required_capabilities", 1)),
        ({"required_capabilities": ["a"] * 33}, ("required_capabilities",)),
        ({"idempotency_key": ""}, ("idempotency_key",)),
        ({"idempotency_key": "k\x00"}, ("idempotency_key",)),
        ({"idempotency_key": "k" * 201}, ("idempotency_key",)),
    ],
)
def test_a_wrong_field_is_refused_where_it_stands(fields: dict[str, Any], path: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        read(**fields)
    assert path in [problem["loc"] for problem in refused.value.errors()]


@pytest.mark.parametrize("document", [[], "card", 7, None])
def test_a_document_that_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate(document)


def test_unknown_fields_are_named_so_that_a_door_can_tell_them() -> None:
    document = {"workflow_json": GRAPH, "priority": 1, "workflw_id": "x", "notes": {}, "n" * 300: 1}
    assert unknown_fields(document) == ["n" * 200, "notes", "workflw_id"]
    assert Manifest.model_validate(document).priority == 1
