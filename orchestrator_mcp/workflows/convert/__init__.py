"""Workflows as artists keep them: UI format to API format, and workflows inside of pictures, films and sounds."""

from orchestrator_mcp.domain.workflow_documents import is_api, looks_like_ui
from orchestrator_mcp.workflows.convert.conversion import Converted, convert
from orchestrator_mcp.workflows.convert.embedded import Embedded, find_workflow
from orchestrator_mcp.workflows.convert.files import Conversion, ConvertedFile, LoadedGraph, convert_files, load_graph
from orchestrator_mcp.workflows.convert.opening import Opened, open_workflow
from orchestrator_mcp.workflows.convert.several import ConvertedByOne, convert_with_any

__all__ = [
    "Conversion",
    "Converted",
    "ConvertedByOne",
    "ConvertedFile",
    "Embedded",
    "LoadedGraph",
    "Opened",
    "convert",
    "convert_files",
    "convert_with_any",
    "find_workflow",
    "is_api",
    "load_graph",
    "looks_like_ui",
    "open_workflow",
]
