"""Which tools there are, and the one server that every transport serves."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations

from orchestrator_mcp.domain.access import Scope
from orchestrator_mcp.doors.mcp import manual
from orchestrator_mcp.doors.mcp.calls import OpenCalls
from orchestrator_mcp.doors.mcp.refusals import CheckedTool
from orchestrator_mcp.doors.mcp.schemas import slim
from orchestrator_mcp.doors.mcp.toolbox import AgentTools
from orchestrator_mcp.service import JobService


class AgentServer(MCPServer[Any]):
    """An MCPServer whose waiting calls can be told to return.

    Attributes:
        calls: the calls that are open now.
    """

    def __init__(self, tools: list[Tool], *, version: str, calls: OpenCalls) -> None:
        super().__init__(
            "orchestrator-mcp",
            title="Director's Console Orchestrator",
            instructions=manual.INSTRUCTIONS,
            version=version,
            tools=tools,
        )
        self.calls = calls

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; a shutdown waits a moment for its answer."""
        with self.calls.running():
            return await super().call_tool(name, arguments, context)


def build_server(service: JobService, *, version: str, public_url: str | None = None) -> AgentServer:
    """Make the one MCP server that every transport serves.

    Args:
        service: what the tools call.
        version: of this program, as clients are told.
        public_url: what the urls of outputs begin with; the caller's own Host when None.
    """
    calls = OpenCalls()
    tools = AgentTools(service, calls, public_url=public_url)
    return AgentServer(_listed(tools), version=version, calls=calls)


def _listed(tools: AgentTools) -> list[Tool]:
    changes = ToolAnnotations(destructive_hint=False, open_world_hint=False)
    ends = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    return [
        _tool(tools.submit_job, "Submit a render", manual.SUBMIT, changes, needs=Scope.SUBMIT),
        _tool(tools.job_status, "Job status and results", manual.STATUS, reads),
        _tool(tools.list_backends, "List render backends", manual.BACKENDS, reads),
        _tool(tools.cancel_job, "Cancel jobs", manual.CANCEL, ends, needs=Scope.SUBMIT),
        _tool(tools.list_workflows, "List workflows", manual.WORKFLOWS, reads),
        _tool(tools.get_preview, "Look at results", manual.PREVIEW, reads),
        _tool(tools.list_jobs, "List jobs", manual.JOBS, reads),
    ]


def _tool(
    function: Any, title: str, description: str, annotations: ToolAnnotations, *, needs: Scope = Scope.READ
) -> Tool:
    tool = CheckedTool.from_function(function, title=title, description=description, annotations=annotations)
    assert isinstance(tool, CheckedTool)
    tool.needs = needs
    tool.parameters = slim(tool.parameters, strict=True)
    if tool.fn_metadata.output_schema is not None:
        tool.fn_metadata.output_schema = slim(tool.fn_metadata.output_schema)
    return tool
