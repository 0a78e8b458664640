"""The token that a server beyond loopback asks for: made at the first start, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from orchestrator_mcp.errors import StartError

TOKEN_NAME: Final = "token"
TOKEN_BYTES: Final = 32


def load_token(data_dir: Path) -> tuple[str, Path, bool]:
    """Read the token, or make it.

    Args:
        data_dir: where it lies.

    Returns:
        The token, its file, and whether it was made just now.

    Raises:
        StartError: it can be neither read nor made.
    """
    path = data_dir / TOKEN_NAME
    try:
        if (token := _read(path)) is not None:
            return token, path, False
        token = secrets.token_urlsafe(TOKEN_BYTES)
        path.unlink(missing_ok=True)  # an empty file keeps its permissions, whatever they are
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
        return token, path, True
    except OSError as error:
        raise StartError(
            f"The token file {path} cannot be used: {error.strerror or error}.", hint="Check its owner and permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise StartError(
            f"The token file {path} does not hold a token: byte {error.start} is not ASCII.",
            hint="Delete it; the next start makes a new one.",
        ) from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
