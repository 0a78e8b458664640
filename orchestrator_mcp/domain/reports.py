"""What is known of a render beside its files: where it ran, with which models, and how long each node took. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RenderReport:
    """One attempt's render; what was not seen is empty.

    Attributes:
        comfyui_version: as the backend spells it.
        device: the name of its first device.
        models: the model file that each input of the graph names, by `node.input`.
        node_timings: seconds that each node ran, where every message of the render was heard.
        cached_nodes: nodes that did not have to run, because the backend still had what they make.
    """

    comfyui_version: str | None = None
    device: str | None = None
    models: dict[str, str] = field(default_factory=dict)
    node_timings: dict[str, float] = field(default_factory=dict)
    cached_nodes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """As it is stored; what is empty is left out."""
        said = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RenderReport:
        """Read what `to_json` wrote."""
        said: dict[str, Any] = json.loads(text)
        return cls(**said)
