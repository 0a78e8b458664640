"""What a caller hands in, through whichever door.

HTTP and the Inbox ignore unknown top-level fields and say so in `warnings`; the MCP door refuses them before it
comes to this model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticKnownError

from orchestrator_mcp.domain.chains import MOST_PARENTS
from orchestrator_mcp.domain.deadlines import read_deadline
from orchestrator_mcp.domain.documents import describe
from orchestrator_mcp.errors import Problem, nearest

MAX_PRIORITY = 100
MAX_TEXT = 200  # characters of an id, label or key
MOST_TOLD: Final = 20  # unknown fields that are named

Label = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Deadline = Annotated[datetime, BeforeValidator(read_deadline), Field(examples=["2026-03-01T18:00:00Z"])]
_WANTED: Final = {
    "string_type": "a text",
    "dict_type": "an object in braces {…}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "tuple_type": "a list in brackets […]",
    "list_type": "a list in brackets […]",
    "bool_type": "true or false",
}
_ITS_TYPE: Final = re.compile(r"^(Value error, |Input |String |Tuple |Dictionary )")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Manifest(BaseModel):
    """A workflow and its parameters: what a job is made from."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    workflow_id: Label | None = Field(
        default=None,
        description="Name of a workflow in the library (see GET /api/workflows). With `workflow`, only a label.",
        examples=["my_workflow_001"],
    )
    workflow: dict[str, Any] | None = Field(
        default=None,
        description="The graph itself, in API format or as ComfyUI's page saves it. Also accepted as `workflow_json`.",
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description='Values by plain name ("prompt", "seed", "steps") or by "node_id.input".',
        examples=[{"prompt": "cinematic shot", "steps": 20}],
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="Kept with the job and given back; never interpreted as parameters."
    )
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher runs first.")
    backend_affinity: Label | None = Field(
        default=None, description="Run on this backend only, and wait while it is offline."
    )
    required_capabilities: tuple[Label, ...] = Field(
        default=(), max_length=32, description="Labels that the backend must carry in the configuration."
    )
    idempotency_key: Label | None = Field(
        default=None, description="The same key and manifest give the same job, however often they are sent."
    )
    batch: dict[str, JsonValue] | None = Field(
        default=None,
        description="Makes one batch of many jobs: parameters by name, each with a list of values, or for seeds "
        '{"count": 12, "strategy": "random" | "sequential" | "fibonacci" | "golden_ratio", "base": 42}. '
        'With "mode": "product" (the default) every combination is a job; with "zip" the first values together, then '
        "the second, and so on.",
        examples=[{"seed": [1, 2, 3], "steps": [20, 30], "mode": "product"}],
    )

    depends_on: tuple[Label, ...] = Field(
        default=(),
        max_length=MOST_PARENTS,
        description="Ids of jobs that must be completed first; if one of them fails, so does this one.",
    )
    deadline: Deadline | None = Field(
        default=None,
        description="When the job is to be done, with its zone: its priority rises in time. `metadata.deadline` does "
        "the same.",
    )
    rerun_of: Label | None = Field(
        default=None,
        description="Id of a job to do again: its graph, parameters, seeds and inputs, with these parameters changed. "
        "With `workflow`, only a label.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_old_spelling(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "workflow_json" not in value:
            return value
        rest = {key: item for key, item in value.items() if key != "workflow_json"}
        graph = value["workflow_json"]
        if graph is None:
            return rest
        if rest.get("workflow") is not None and rest["workflow"] != graph:
            raise ValueError("workflow and workflow_json are two spellings of one field; give one of them")
        return {**rest, "workflow": graph}

    @model_validator(mode="after")
    def _needs_a_workflow(self) -> Manifest:
        if self.rerun_of is not None and self.workflow is None:
            if self.workflow_id is not None:
                raise ValueError("rerun_of brings its own workflow; leave workflow_id out")
        elif self.workflow_id is None and self.workflow is None:
            raise ValueError(
                "give workflow_id (a name from GET /api/workflows) or workflow (a graph in API or UI format)"
            )
        return self

    @field_validator("parameters", "metadata", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("required_capabilities", "depends_on", mode="before")
    @classmethod
    def _null_is_none_required(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("required_capabilities")
    @classmethod
    def _fold_labels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({label.strip().casefold() for label in value if label.strip()}))

    @field_validator("depends_on")
    @classmethod
    def _fold_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(job_id.strip().casefold() for job_id in value))

    @field_validator("priority", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise PydanticKnownError("int_type")
        return value

    @field_validator("workflow_id", "backend_affinity", "idempotency_key", "rerun_of")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and _CONTROL.search(value):
            raise ValueError("control characters are not allowed")
        return value


def _as_it_was(schema: dict[str, Any]) -> None:
    """What is left out has no default: the first job says it."""
    schema.pop("default", None)


class Changes(BaseModel):
    """What is to be otherwise when a job is done again; what is left out stays as it was."""

    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="Values by the names that the first job used, or by any name of its graph."
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="Put over that of the first job.")
    priority: int = Field(
        default=0,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="Another priority.",
        json_schema_extra=_as_it_was,
    )
    backend_affinity: Label | None = Field(
        default=None, description="Another backend; null for any.", json_schema_extra=_as_it_was
    )
    required_capabilities: tuple[Label, ...] = Field(
        default=(),
        max_length=32,
        description="Other labels that the backend must carry.",
        json_schema_extra=_as_it_was,
    )
    depends_on: tuple[Label, ...] = Field(
        default=(), max_length=MOST_PARENTS, description="Ids of jobs that must be completed first."
    )
    deadline: Deadline | None = Field(
        default=None, description="When the new job is to be done; that of the first job does not count."
    )
    idempotency_key: Label | None = Field(default=None, description="The same key and changes give the same job.")


def unknown_fields(document: Mapping[str, Any], known: Collection[str] | None = None) -> list[str]:
    """Top-level keys of a document that mean nothing here, cut to what can be told.

    Args:
        document: the parsed JSON object.
        known: the names that mean something; those of a manifest unless given.
    """
    meant = _fields() if known is None else known
    return sorted(str(key)[:MAX_TEXT] for key in document if key not in meant)


def warnings_about(document: Mapping[str, Any], known: Collection[str] | None = None) -> list[str]:
    """One sentence for each top-level key of a document that means nothing here, as every door says it.

    Args:
        document: the parsed JSON object.
        known: see `unknown_fields`.
    """
    meant = _fields() if known is None else known
    names = unknown_fields(document, meant)
    told = [_ignored(name, nearest(name, meant, most=1)) for name in names[:MOST_TOLD]]
    rest = len(names) - len(told)
    return [*told, f"{rest} more unknown fields were ignored."] if rest else told


def _fields() -> tuple[str, ...]:
    return ("workflow_json", *Manifest.model_fields)


def _ignored(name: str, near: tuple[str, ...]) -> str:
    mend = f"Did you mean {near[0]!r}?" if near else "Values for the workflow go inside 'parameters'."
    return f"The unknown field {name!r} was ignored. {mend}"


def problems_in(
    error: ValidationError, *, fields: Sequence[str] = (), place: Sequence[str | int] = ()
) -> list[Problem]:
    """What pydantic found wrong with a document, as every door says it.

    Args:
        error: what pydantic raised.
        fields: the names that exist at the top; the nearest to an unknown one are told.
        place: where the document stands, for example `("query",)`.
    """
    return [_problem(entry, fields, place) for entry in error.errors(include_url=False)]


def _problem(entry: ErrorDetails, fields: Sequence[str], place: Sequence[str | int]) -> Problem:
    path, kind = (*place, *entry["loc"]), entry["type"]
    if kind == "extra_forbidden":
        near = nearest(str(entry["loc"][-1]), fields)
        return Problem(
            path=path, message="there is no such name here", code="unknown_name", allowed=near or tuple(fields)
        )
    if kind in _WANTED:
        return Problem(path=path, message=f"{_WANTED[kind]} is needed, not {describe(entry['input'])}", code=kind)
    message = _ITS_TYPE.sub("", str(entry["msg"])).replace(" after validation", "")
    code = "invalid" if kind == "value_error" else kind
    return Problem(path=path, message=message[:1].lower() + message[1:], code=code, allowed=_allowed(entry))


def _allowed(entry: ErrorDetails) -> tuple[str, ...]:
    if entry["type"] != "literal_error":
        return ()
    return tuple(re.findall(r"'([^']*)'", str(entry.get("ctx", {}).get("expected", ""))))
