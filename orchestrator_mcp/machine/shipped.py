"""Where the files lie that come with the program: its workflows and its default configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """A file or folder that comes with the program.

    An installed package carries a copy; a checkout has the one original beside the package.

    Args:
        name: `workflows` or `config.yaml`.
    """
    installed = _PACKAGE / "_shipped" / name
    return installed if installed.exists() else _PACKAGE.parent / name


def workflow_folders(configured: tuple[Path, ...]) -> tuple[Path, ...]:
    """Where workflows are looked for: in the configured folders first, so that a studio's own go before the shipped."""
    return (*configured, shipped("workflows"))
