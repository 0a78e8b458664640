"""config.yaml as one checked, frozen tree; the only room that reads the environment."""

from __future__ import annotations

from orchestrator_mcp.settings.current import CurrentSettings, Difference, difference, merged
from orchestrator_mcp.settings.scheduling import SchedulingSettings
from orchestrator_mcp.settings.sections import (
    AssetSettings,
    BackendSettings,
    LimitSettings,
    PolicySettings,
    RetentionSettings,
    ServerSettings,
)
from orchestrator_mcp.settings.settings import Settings, load_settings, locate_config

__all__ = [
    "AssetSettings",
    "BackendSettings",
    "CurrentSettings",
    "Difference",
    "LimitSettings",
    "PolicySettings",
    "RetentionSettings",
    "SchedulingSettings",
    "ServerSettings",
    "Settings",
    "difference",
    "load_settings",
    "locate_config",
    "merged",
]
