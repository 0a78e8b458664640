"""The types of arguments that models often get wrong, each with the words that mend the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from orchestrator_mcp.domain.documents import describe

MOST_IDS: Final = 50  # in one call
_LONGEST_ID: Final = 100


def ids(most: int) -> Callable[[Any], Any]:
    """A check for one id, or a list of them.

    Args:
        most: how many a call may name.
    """

    def check(value: Any) -> Any:
        listed = value if isinstance(value, list) else [value]
        wrong = next((one for one in listed if not isinstance(one, str) or not 0 < len(one) <= _LONGEST_ID), None)
        if wrong is not None or not 0 < len(listed) <= most:
            found = describe(wrong) if wrong is not None else f"{len(listed)} of them"
            raise ValueError(
                f"a job_id as submit_job gave it (a text), or a list of 1 to {most} of them, is needed, not {found}"
            )
        return value

    return check


def graph(value: Any) -> Any:
    """A check for a graph: names are not taken for one."""
    if isinstance(value, str):
        raise ValueError(f"a graph is needed, not {describe(value)}; the name of a workflow goes into workflow_id")
    return value


def batch(value: Any) -> Any:
    """A check for what varies: a mere number does not say what."""
    if not isinstance(value, dict):
        wanted = 'an object that names what varies is needed, as {"seed": {"count": 3}} for three seeds'
        raise ValueError(f"{wanted}, not {describe(value)}")
    return value


def listed(value: Any) -> Any:
    """One text is a list of one."""
    return [value] if isinstance(value, str) else value


JobIds = Annotated[str | list[str], BeforeValidator(ids(MOST_IDS)), Field(description="One, several, or of a batch.")]
Graph = Annotated[dict[str, Any], BeforeValidator(graph)]
Batch = Annotated[dict[str, Any], BeforeValidator(batch)]
Labels = Annotated[list[str], BeforeValidator(listed)]
Statuses = Annotated[list[Literal["queued", "running", "completed", "failed", "cancelled"]], BeforeValidator(listed)]
