"""Which tools there are, and the one server that every transport serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.types import (
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    Resource,
    ResourceTemplate,
    ToolAnnotations,
)
from pydantic import AnyUrl

from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.domain.access import Scope
from orchestrator_mcp.doors.mcp import manual
from orchestrator_mcp.doors.mcp.callers import urls_begin
from orchestrator_mcp.doors.mcp.calls import OpenCalls
from orchestrator_mcp.doors.mcp.inside import serve_completion, serve_subscriptions, serve_tool_list
from orchestrator_mcp.doors.mcp.lists import UNCHANGING, UNCHANGING_MS
from orchestrator_mcp.doors.mcp.prompts import Prompts
from orchestrator_mcp.doors.mcp.refusals import CheckedTool, require_prompt, require_tool
from orchestrator_mcp.doors.mcp.resources import Resources, templates
from orchestrator_mcp.doors.mcp.schemas import slim
from orchestrator_mcp.doors.mcp.task_updates import TaskListening
from orchestrator_mcp.doors.mcp.tasks import JobTasks
from orchestrator_mcp.doors.mcp.toolbox import AgentTools
from orchestrator_mcp.doors.mcp.updates import Listeners, Updates
from orchestrator_mcp.service import JobService

_CACHED: Final[dict[CacheableMethod, CacheHint]] = {
    method: CacheHint(ttl_ms=UNCHANGING_MS, scope="public") for method in UNCHANGING
}


class AgentServer(MCPServer[Any]):
    """An MCPServer whose waiting calls can be told to return, and which tells of changes.

    Args:
        service: what is behind it.
        version: of this program, as clients are told.
        public_url: what the urls of outputs begin with; the caller's own Host when None.
        clock: paces what is told of changes.

    Attributes:
        calls: the calls that are open now.
        updates: who wants to hear of which resource.
    """

    def __init__(self, service: JobService, *, version: str, public_url: str | None, clock: Clock) -> None:
        self.calls = OpenCalls()
        listeners = Listeners()
        self.updates = Updates(listeners, clock)
        tasks = JobTasks(service, public_url=public_url)
        super().__init__(
            manual.NAME,
            title=manual.TITLE,
            instructions=manual.INSTRUCTIONS,
            version=version,
            icons=[manual.ICON],
            tools=_listed(AgentTools(service, self.calls, public_url=public_url)),
            extensions=[tasks],
            subscriptions=listeners,
            cache_hints=_CACHED,
        )
        self._service = service
        self._public_url = public_url
        self._readable = Resources(service)
        for prompt in Prompts(service).listed():
            self.add_prompt(prompt)
        serve_tool_list(self, public_url)
        serve_completion(self, self._readable)
        serve_subscriptions(self, self.updates, TaskListening(listeners, tasks))

    @property
    def confirm_jobs(self) -> int:
        """How many jobs a batch may have before a person is asked; 0 never asks."""
        return self._service.confirm_jobs

    async def run_updates(self) -> None:
        """Tell subscribers what changes, for ever."""
        self._service.listen(self.updates.hear)
        await self.updates.run()

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; a shutdown waits a moment for its answer."""
        with self.calls.running():
            require_tool(name, [tool.name for tool in await self.list_tools()])
            return await super().call_tool(name, arguments, context)

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """Render a prompt.

        Raises:
            MCPError: there is none of that name, or an argument is missing or unknown; the message names what exists.
        """
        require_prompt(name, arguments or {}, await self.list_prompts())
        return await super().get_prompt(name, arguments, context)

    async def list_resources(self) -> list[Resource]:
        """The machines and workflows, as they are now."""
        return await self._readable.listed()

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """What can be read by address."""
        return templates()

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource; see `Resources.read`."""
        begin = urls_begin(context, self._public_url) if context is not None else self._public_url
        with self.calls.running():
            return await self._readable.read(str(uri), base_url=begin)


def build_server(
    service: JobService, *, version: str, public_url: str | None = None, clock: Clock | None = None
) -> AgentServer:
    """Make the one MCP server that every transport serves.

    Args:
        service: what the tools call.
        version: of this program, as clients are told.
        public_url: what the urls of outputs begin with; the caller's own Host when None.
        clock: the time; the machine's unless given.
    """
    return AgentServer(service, version=version, public_url=public_url, clock=clock or SystemClock())


def _listed(tools: AgentTools) -> list[Tool]:
    changes = ToolAnnotations(destructive_hint=False, open_world_hint=False)
    ends = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    return [
        _tool(tools.submit_job, "Submit a render", manual.SUBMIT, changes, needs=Scope.SUBMIT),
        _tool(tools.job_status, "Job status", manual.STATUS, reads),
        _tool(tools.list_backends, "List backends", manual.BACKENDS, reads),
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
