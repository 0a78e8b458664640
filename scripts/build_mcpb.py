"""Builds the .mcpb bundle by which Claude Desktop and others install the orchestrator with a double click.

    python scripts/build_mcpb.py [FOLDER]

The same checkout gives the same bytes. The host's own uv installs what pyproject.toml names, so one bundle serves every
system. See https://github.com/anthropics/mcpb for the format; `mcpb validate` and `mcpb pack` take what this writes.
"""

from __future__ import annotations

import json
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDERS = ("orchestrator_mcp", "watcher", "workflows")
FILES = ("pyproject.toml", "README.md", "config.yaml")
ENTRY = "server.py"
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_READABLE = 0o100644 << 16


def manifest() -> dict[str, Any]:
    """What a host is told of the bundle, with name and version as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "manifest_version": "0.4",
        "name": project["name"],
        "display_name": "Director's Console Orchestrator",
        "version": project["version"],
        "description": project["description"],
        "author": {"name": "The Director's Console developers"},
        "keywords": project["keywords"],
        "server": {
            "type": "uv",
            "entry_point": ENTRY,
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "--no-dev", ENTRY],
                "env": {"ORCHESTRATOR_FOLDER": "${user_config.folder}"},
            },
        },
        "tools_generated": True,
        "prompts_generated": True,
        "compatibility": {
            "platforms": ["darwin", "linux", "win32"],
            "runtimes": {"python": project["requires-python"]},
        },
        "user_config": {
            "folder": {
                "type": "directory",
                "title": "Folder",
                "description": "Where its config.yaml, Inbox, Outbox and data lie; made if it is not there.",
                "default": "${HOME}/Orchestrator",
                "required": False,
            }
        },
    }


def contents() -> Iterator[tuple[str, bytes]]:
    """Every file of the bundle by its name there, in order."""
    named = {name: ROOT / name for name in FILES}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            relative = path.relative_to(ROOT)
            hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                named[relative.as_posix()] = path
    named[ENTRY] = ROOT / "scripts" / "mcpb_server.py"
    written = {name: path.read_bytes() for name, path in named.items()}
    written["manifest.json"] = json.dumps(manifest(), indent=2).encode() + b"\n"
    yield from sorted(written.items())


def build(folder: Path) -> Path:
    """Write the bundle.

    Args:
        folder: where; made if it is not there.

    Returns:
        The bundle.
    """
    told = manifest()
    folder.mkdir(parents=True, exist_ok=True)
    bundle = folder / f"{told['name']}-{told['version']}.mcpb"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, content in contents():
            entry = zipfile.ZipInfo(name, _FIRST_DAY)
            entry.external_attr = _READABLE
            entry.create_system = 3  # as on Unix, wherever it is built
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, content)
    return bundle


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1] if len(sys.argv) > 1 else 'dist'))}\n")
