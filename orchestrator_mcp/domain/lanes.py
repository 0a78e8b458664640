"""What a job needs of a backend, and the lanes that group jobs with equal needs.

Placement looks at lanes, never at jobs, so that its cost does not grow with the queue.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

SOURCE_BUCKETS: Final = 64


@dataclass(frozen=True, kw_only=True, order=True)
class ModelFile:
    """A model that a loader node names.

    Attributes:
        class_type: the loader's node class.
        input: the input that names the file.
        name: the file as the graph spells it, with `/` between folders.
    """

    class_type: str
    input: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a graph needs a backend to have."""

    node_classes: frozenset[str] = frozenset()
    models: frozenset[ModelFile] = frozenset()


@dataclass(frozen=True, kw_only=True)
class LaneSpec:
    """What the jobs of a lane have in common.

    Attributes:
        source: who they come from, for fair shares.
        capabilities: labels that the backend must carry.
        pin: the only backend that may run them.
        avoid: backends that may not run them (any more).
        model_key: the models that they load, as one word; equal keys run warm after each other.
        requirements: node classes and model files.
        signature: what sort of work they are, whatever their values; empty where nobody says.
        size: how much work each is, as a power of two (of size x steps).
        dated: the priority of jobs with a deadline, which stand in lanes of their own, the one that is due first at
            the head; None for jobs without one.
        workflow: the id of their workflow, where named limits may count by it; empty elsewhere.
    """

    source: str = ""
    capabilities: frozenset[str] = frozenset()
    pin: str | None = None
    avoid: frozenset[str] = frozenset()
    model_key: str = ""
    requirements: Requirements = Requirements()
    signature: str = ""
    size: int = 0
    dated: int | None = None
    workflow: str = ""

    def avoiding(self, backend_id: str) -> LaneSpec:
        """The same needs, without one more backend."""
        return replace(self, avoid=self.avoid | {backend_id})

    def bucketed(self) -> LaneSpec:
        """The same needs, with the source folded into one of a few buckets, whatever sort of work it is."""
        digest = hashlib.sha256(self.source.encode("utf-8", "surrogatepass")).digest()
        return replace(self, source=f"~{digest[0] % SOURCE_BUCKETS}", signature="", size=0, workflow="")

    @property
    def units(self) -> float:
        """How much work each job is, above 0."""
        return 2.0**self.size

    @cached_property
    def kind(self) -> str:
        """A short name for the needs alone: lanes that differ only in whose and which jobs they hold have the same."""
        return sys.intern(lane_key(replace(self, source="", dated=None, workflow="").to_json()))

    @cached_property
    def anywhere(self) -> LaneSpec:
        """The same needs of jobs that may run on any backend, from anybody."""
        return replace(self, source="", pin=None, avoid=frozenset(), signature="", size=0, dated=None, workflow="")

    @cached_property
    def needs(self) -> str:
        """A short name for what the jobs need, wherever they may run and whoever they come from."""
        return self.anywhere.kind[:16]

    def to_json(self) -> str:
        """The canonical spelling: equal specs give equal text."""
        spec: dict[str, object] = {
            "source": self.source,
            "capabilities": sorted(self.capabilities),
            "pin": self.pin,
            "avoid": sorted(self.avoid),
            "model_key": self.model_key,
            "node_classes": sorted(self.requirements.node_classes),
            "models": [[file.class_type, file.input, file.name] for file in sorted(self.requirements.models)],
        }
        if self.signature:  # lanes of before this was known keep their key
            spec |= {"signature": self.signature, "size": self.size}
        if self.dated is not None:
            spec["dated"] = self.dated
        if self.workflow:
            spec["workflow"] = self.workflow
        return json.dumps(spec, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    @staticmethod
    @lru_cache(maxsize=8_192)
    def from_json(text: str) -> LaneSpec:
        """Read what `to_json` wrote."""
        spec = json.loads(text)
        models = frozenset(ModelFile(class_type=c, input=i, name=n) for c, i, n in spec["models"])
        return LaneSpec(
            source=spec["source"],
            capabilities=frozenset(spec["capabilities"]),
            pin=spec["pin"],
            avoid=frozenset(spec["avoid"]),
            model_key=spec["model_key"],
            requirements=Requirements(node_classes=frozenset(spec["node_classes"]), models=models),
            signature=spec.get("signature", ""),
            size=spec.get("size", 0),
            dated=spec.get("dated"),
            workflow=spec.get("workflow", ""),
        )


def lane_key(spec_json: str) -> str:
    """The short unique key of a lane."""
    return hashlib.sha256(spec_json.encode("utf-8", "surrogatepass")).hexdigest()
