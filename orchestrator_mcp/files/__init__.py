"""Primitives over files: safe names, reading what a stranger left, writing what must survive.

All of it is synchronous (call it in a thread) and fails with OSError. What one system cannot do (leases, folder
flushes, exclusive renames) is left out there, never an error.
"""

from orchestrator_mcp.files.names import (
    UNNAMED,
    free_names,
    numbered,
    printable,
    safe_stem,
    unique_names,
)
from orchestrator_mcp.files.publishing import (
    publish_directory,
    rename_exclusively,
)
from orchestrator_mcp.files.reading import (
    ChangedWhileReadError,
    FileTooLargeError,
    NotRegularError,
    Reading,
    Signature,
    is_missing,
    open_descriptor,
    open_regular,
    read_open,
    read_regular,
)
from orchestrator_mcp.files.system import (
    free_space,
    is_network_filesystem,
    mounted_type,
)
from orchestrator_mcp.files.writing import (
    flush,
    sweep_unfinished,
    sync_directory,
    write_durably,
    write_new,
)

__all__ = [
    "ChangedWhileReadError",
    "FileTooLargeError",
    "NotRegularError",
    "Reading",
    "Signature",
    "UNNAMED",
    "flush",
    "free_names",
    "free_space",
    "is_missing",
    "is_network_filesystem",
    "mounted_type",
    "numbered",
    "open_descriptor",
    "open_regular",
    "printable",
    "publish_directory",
    "read_open",
    "read_regular",
    "rename_exclusively",
    "safe_stem",
    "sweep_unfinished",
    "sync_directory",
    "unique_names",
    "write_durably",
    "write_new",
]
