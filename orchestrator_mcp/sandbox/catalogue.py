"""The node classes that a sandbox has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from orchestrator_mcp.sandbox.catalogue_models import LOADING, SAMPLING
from orchestrator_mcp.sandbox.catalogue_pictures import MAKING, SAVING
from orchestrator_mcp.sandbox.definitions import NodeClass

NODE_CLASSES: Mapping[str, NodeClass] = MappingProxyType(
    {one.name: one for one in (*MAKING, *SAVING, *LOADING, *SAMPLING)}
)
"""Every node class of the sandbox, by its ``class_type``."""
