"""What comes with the program: the workflows that work on a fresh start."""

from __future__ import annotations

from pathlib import Path

from orchestrator_mcp.settings import Settings, load_settings

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_workflows() -> Path:
    """The folder of the workflows that come with the program: in the installed package, else in the checkout."""
    installed = _PACKAGE / "_shipped" / "workflows"
    return installed if installed.is_dir() else _PACKAGE.parent / "workflows"


def settings_for(config: Path | None, *, host: str | None = None, port: int | None = None) -> Settings:
    """Load the settings; the shipped workflows are there unless the file says where workflows lie.

    Args:
        config: the file that the command line named, or None.
        host: replaces `server.host`.
        port: replaces `server.port`.

    Raises:
        SettingsError: see `load_settings`.
    """
    settings = load_settings(config, host=host, port=port)
    if "workflows_dirs" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"workflows_dirs": (*settings.workflows_dirs, shipped_workflows())})
