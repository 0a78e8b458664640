"""What a caller hands in, through whichever door.

HTTP and the Inbox ignore unknown top-level fields and say so in `warnings`; the MCP door refuses them before it
comes to this model.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

MAX_PRIORITY = 100
MAX_TEXT = 200  # characters of an id, label or key

Label = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
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
        description="The graph itself, in ComfyUI's API format. Also accepted as `workflow_json`.",
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

    @model_validator(mode="before")
    @classmethod
    def _take_the_old_spelling(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "workflow_json" not in value:
            return value
        if value.get("workflow") is not None and value["workflow"] != value["workflow_json"]:
            raise ValueError("workflow and workflow_json are two spellings of one field; give one of them")
        rest = {key: item for key, item in value.items() if key != "workflow_json"}
        return {**rest, "workflow": value["workflow_json"]}

    @model_validator(mode="after")
    def _needs_a_workflow(self) -> Manifest:
        if self.workflow_id is None and self.workflow is None:
            raise ValueError("give workflow_id (a name from GET /api/workflows) or workflow (a graph in API format)")
        return self

    @field_validator("parameters", "metadata", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("required_capabilities", mode="before")
    @classmethod
    def _null_is_none_required(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("required_capabilities")
    @classmethod
    def _fold_labels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({label.strip().casefold() for label in value if label.strip()}))

    @field_validator("workflow_id", "backend_affinity", "idempotency_key")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and _CONTROL.search(value):
            raise ValueError("control characters are not allowed")
        return value


def unknown_fields(document: dict[str, Any]) -> list[str]:
    """Top-level keys of a manifest document that mean nothing here, as warnings tell them.

    Args:
        document: the parsed JSON object.
    """
    known = {*Manifest.model_fields, "workflow_json"}
    return sorted(str(key)[:MAX_TEXT] for key in document if key not in known)
