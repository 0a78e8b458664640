"""Workflows as artists keep them: UI format to API format, and workflows inside of pictures, films and sounds."""

from orchestrator_mcp.workflows.convert.conversion import Converted, convert, is_api, looks_like_ui
from orchestrator_mcp.workflows.convert.embedded import Embedded, find_workflow
from orchestrator_mcp.workflows.convert.files import Conversion, ConvertedFile, LoadedGraph, convert_files, load_graph

__all__ = [
    "Conversion",
    "Converted",
    "ConvertedFile",
    "Embedded",
    "LoadedGraph",
    "convert",
    "convert_files",
    "find_workflow",
    "is_api",
    "load_graph",
    "looks_like_ui",
]
