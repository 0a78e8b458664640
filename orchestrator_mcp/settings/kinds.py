"""What the values of a configuration may be: the kinds that its keys share, with the words for each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from orchestrator_mcp.settings.addresses import check_host
from orchestrator_mcp.settings.checking import Needs
from orchestrator_mcp.settings.quantities import parse_duration, parse_size, show_duration, show_size

SECTION = ConfigDict(
    extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True, validate_default=True
)


def _read_duration(value: Any) -> float:
    try:
        return parse_duration(value)
    except ValueError:
        raise PydanticCustomError("duration", "no duration") from None


def _read_size(value: Any) -> int:
    try:
        return parse_size(value)
    except ValueError:
        raise PydanticCustomError("size", "no size") from None


def read_folder(value: Any) -> Any:
    """A folder as people write it, with `~` for their own; what is no text is left to pydantic to refuse."""
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("folder", "no folder")
    return Path(value).expanduser() if isinstance(value, str | Path) else value


Whole = Annotated[int, Field(strict=True), Needs("a whole number")]
Switch = Annotated[bool, Field(strict=True), Needs("true or false", lambda value: "true" if value else "false")]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
Duration = Annotated[
    float,
    BeforeValidator(_read_duration),
    Needs('a duration (seconds, or a text such as "500ms", "30s", "10m", "2h", "14d")', show_duration),
]
Size = Annotated[
    int, BeforeValidator(_read_size), Needs('a size (bytes, or a text such as "16MiB" or "20GB")', show_size)
]
Folder = Annotated[Path, BeforeValidator(read_folder), Needs("a folder as text (such as ./data)")]
Host = Annotated[str, AfterValidator(check_host), Needs("a host name or IP address (such as 192.168.1.100)")]
Labels = Annotated[tuple[Text, ...], Field(max_length=64), Needs("a list of texts (such as [flux, sdxl])")]
