"""The OpenAPI 3.1 document, from the same pydantic models that read requests and write answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from orchestrator_mcp.domain import batch_views, views
from orchestrator_mcp.domain.dry_runs import DryRunView
from orchestrator_mcp.domain.manifests import Changes, Manifest
from orchestrator_mcp.doors.http.backend_operations import BACKEND_OPERATIONS
from orchestrator_mcp.doors.http.batch_operations import BATCH_OPERATIONS
from orchestrator_mcp.doors.http.batches import BatchPage
from orchestrator_mcp.doors.http.examples import EXAMPLES
from orchestrator_mcp.doors.http.operations import (
    ERRORS,
    EVENT_STREAM,
    FILE_TYPES,
    JSON,
    OPERATIONS,
    PARAMETERS,
    PATH_PARAMETERS,
    Answer,
    ErrorDocument,
    NodeClassesDocument,
    Operation,
    WrongFieldsDocument,
)
from orchestrator_mcp.doors.http.reading import JobFilters, OperateQuery, PreviewQuery, SubmitQuery, UnblockQuery

_REF: Final = "#/components/schemas/"
_TAGS: Final = {
    "jobs": "Hand in work, look at it, end it.",
    "batches": "Many jobs from one manifest.",
    "outputs": "The verified files of a job.",
    "assets": "Pictures, videos and sounds that jobs begin with.",
    "streams": "Follow a job while it runs.",
    "farm": "The backends, and the orchestrator itself.",
    "workflows": "The library of named workflows.",
}
QUERIES: Final[dict[str, type[BaseModel]]] = {
    "submit": SubmitQuery,
    "filters": JobFilters,
    "preview": PreviewQuery,
    "batches": BatchPage,
    "operate": OperateQuery,
    "unblock": UnblockQuery,
}
_READ: Final[tuple[type[BaseModel], ...]] = (Manifest, Changes)
_WRITTEN: Final[tuple[type[BaseModel], ...]] = (
    views.AcceptedView,
    DryRunView,
    batch_views.BatchAcceptedView,
    batch_views.BatchView,
    batch_views.BatchListView,
    batch_views.BatchEvent,
    views.JobView,
    views.JobListView,
    views.OutputView,
    views.AssetView,
    views.StreamEvent,
    views.BackendView,
    views.WorkflowView,
    views.HealthView,
    NodeClassesDocument,
    ErrorDocument,
    WrongFieldsDocument,
)
_MAY_BE_ABSENT: Final = frozenset({"Manifest", "Changes", "ErrorDocument", "WrongField", "WrongFieldsDocument"})


def openapi_document(version: str) -> dict[str, Any]:
    """Build the document.

    Args:
        version: the product's version.

    Returns:
        Plain JSON values.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in (*OPERATIONS, *BACKEND_OPERATIONS, *BATCH_OPERATIONS):
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Director's Console Orchestrator",
            "version": version,
            "summary": "One manifest, three doors, real pixels.",
            "description": "Runs ComfyUI workflows on a farm of machines, once, with verified results. "
            "Times are RFC 3339 in UTC. Every error is JSON with `detail` and `code`.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Where the server asks for a token."},
                "basic": {"type": "http", "scheme": "basic", "description": "Any user name, the token as password."},
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


def _schemas() -> dict[str, Any]:
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in _READ),
        *((model, "serialization") for model in _WRITTEN),
    ]
    _, document = models_json_schema(modes, ref_template=_REF + "{model}")
    schemas: dict[str, Any] = document["$defs"]
    for name, schema in schemas.items():
        for described in schema.get("properties", {}).values():
            described.pop("title", None)  # pydantic repeats the name
        if name not in _MAY_BE_ABSENT and "properties" in schema:
            # Answers are written whole: a field that is null is there all the same.
            schema["required"] = list(schema["properties"])
    workflow = schemas["Manifest"]["properties"]["workflow"]
    schemas["Manifest"]["properties"]["workflow_json"] = {
        **workflow,
        "description": "Another spelling of `workflow`; give one of them.",
    }
    return schemas


def _operation(operation: Operation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.text,
        "parameters": [*_path_parameters(operation.path), *_header_parameters(operation.headers)],
        "responses": {
            **{str(status): _answer(told) for status, told in operation.answers},
            **{str(status): _error(status) for status in sorted({*operation.errors, 401, 403, 421})},
        },
    }
    if operation.query is not None:
        document["parameters"] += _query_parameters(QUERIES[operation.query])
    if operation.body is not None:
        content = {JSON: {"schema": {"$ref": _REF + operation.body}, "example": EXAMPLES[operation.example]}}
        content |= _file_content(operation.body) if operation.files else {}
        document["requestBody"] = {"required": operation.body != "Changes", "content": content}
    if operation.upload:
        document["requestBody"] = {"required": True, "content": _upload_content()}
    if operation.path == "/health":
        document["security"] = [{}]
    return document


def _file_content(manifest: str) -> dict[str, Any]:
    """The bodies that are files: alone, or in a form beside what else a manifest says."""
    binary = {"type": "string", "format": "binary"}
    properties = {
        "workflow": {**binary, "description": "A picture, film or sound, or a workflow as JSON."},
        "manifest": {"$ref": _REF + manifest},
    }
    form = {"type": "object", "required": ["workflow"], "properties": properties}
    return {**{kind: {"schema": binary} for kind in FILE_TYPES}, "multipart/form-data": {"schema": form}}


def _upload_content() -> dict[str, Any]:
    """The bodies that bring an input file."""
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "required": ["file"], "properties": {"file": binary}, "additionalProperties": False}
    return {**{kind: {"schema": binary} for kind in FILE_TYPES}, "multipart/form-data": {"schema": form}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_PARAMETERS[name],
            "schema": {"type": "string"},
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


def _header_parameters(names: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": PARAMETERS[name][0],
            "schema": PARAMETERS[name][1],
        }
        for name in names
    ]


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    properties = query.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema["description"],
            "schema": {key: value for key, value in schema.items() if key not in {"description", "title"}},
        }
        for name, schema in properties.items()
    ]


def _answer(told: Answer) -> dict[str, Any]:
    document: dict[str, Any] = {"description": told.text}
    if told.headers:
        document["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in told.headers}
    if told.schema is None and told.media_type == JSON:
        return document
    one: dict[str, Any] = {"$ref": _REF + told.schema} if told.schema else {"type": "string", "format": "binary"}
    if told.or_schema is not None:
        one = {"anyOf": [one, {"$ref": _REF + told.or_schema}]}
    if told.media_type == EVENT_STREAM:
        one = _event_of(one)
    content: dict[str, Any] = {"schema": {"type": "array", "items": one} if told.is_list else one}
    if told.example is not None:
        content["example"] = EXAMPLES[told.example]
    return {**document, "content": {told.media_type: content}}


def _event_of(told: dict[str, Any]) -> dict[str, Any]:
    """One server-sent event, whose `data` is JSON."""
    content = {"contentMediaType": JSON, "contentSchema": told}
    fields = {"event": {"type": "string"}, "id": {"type": "string"}, "data": {"type": "string", **content}}
    return {"type": "object", "properties": fields}


def _error(status: int) -> dict[str, Any]:
    wrong = status == 422
    document: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {
            JSON: {
                "schema": {"$ref": _REF + ("WrongFieldsDocument" if wrong else "ErrorDocument")},
                "example": EXAMPLES["wrong_fields" if wrong else "error"],
            }
        },
    }
    if status in {429, 503}:
        text = "Seconds after which another try makes sense."
        document["headers"] = {"Retry-After": {"description": text, "schema": {"type": "integer"}}}
    return document
