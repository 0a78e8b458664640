"""`notifications/tasks`: who listens for tasks is told where each stands, at once and whenever that changes.

See the section on status notifications in the specification of the tasks extension, 2026-07-28.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Literal, cast

from mcp.server.mcpserver import require_client_extension
from mcp.server.session import ServerSession
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    Notification,
    ResourceUpdatedNotification,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from orchestrator_mcp.doors.mcp.greeting import TASKS
from orchestrator_mcp.doors.mcp.resources import job_uri
from orchestrator_mcp.doors.mcp.tasks import Ctx, JobTasks
from orchestrator_mcp.doors.mcp.updates import MOST_SUBSCRIPTIONS, Listeners

_FIELD: Final = "taskIds"


class TaskNotification(Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """A whole task, as `tasks/get` would tell it now."""

    method: Literal["notifications/tasks"] = "notifications/tasks"


class TaskListening(ListenHandler):
    """The SDK's answer to `subscriptions/listen`, which tells of tasks too.

    A task changes when its job does: its stream listens for the job, and what would be told of that is told as a task.

    Args:
        listeners: what tells of changes.
        tasks: where the tasks are.
    """

    def __init__(self, listeners: Listeners, tasks: JobTasks) -> None:
        super().__init__(listeners)
        self._tasks = tasks

    async def __call__(self, ctx: Ctx, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve one stream.

        Raises:
            MCPError: the client asks for tasks without declaring the extension, or for what is no list of ids.
        """
        wanted = (params.notifications.model_extra or {}).get(_FIELD)
        if wanted is None:
            return await super().__call__(ctx, params)
        require_client_extension(ctx, TASKS)
        known = await self._known(wanted, ctx)
        resources = list(params.notifications.resource_subscriptions or ())
        both = {"resource_subscriptions": [*resources, *map(job_uri, known)]}
        session = _TaskSession(ctx, self._tasks, known, resources)
        listened = params.model_copy(update={"notifications": params.notifications.model_copy(update=both)})
        return await super().__call__(replace(ctx, session=cast(ServerSession, session)), listened)

    async def _known(self, wanted: object, ctx: Ctx) -> list[str]:
        """Those of the wanted tasks that exist; the others are not agreed to."""
        if not isinstance(wanted, list) or len(wanted) > MOST_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"{_FIELD} is a list of at most {MOST_SUBSCRIPTIONS} task ids.")
        known = []
        for one in wanted:
            try:
                await self._tasks.told(str(one), ctx)
                known.append(str(one))
            except MCPError:
                continue
        return known


class _TaskSession:
    """A session on which changes of some jobs are told as changes of tasks."""

    def __init__(self, ctx: Ctx, tasks: JobTasks, known: list[str], resources: list[str]) -> None:
        self._ctx = ctx
        self._tasks = tasks
        self._by_uri = {job_uri(one): one for one in known}
        self._resources = resources

    async def send_notification(self, notification: Any, related_request_id: Any = None) -> None:
        """Pass a notification on, or what it means for a task."""
        session: Any = self._ctx.session
        match notification:
            case SubscriptionsAcknowledgedNotification():
                agreed = {"resource_subscriptions": self._resources or None, _FIELD: list(self._by_uri.values())}
                honored = notification.params.notifications.model_copy(update=agreed)
                params = notification.params.model_copy(update={"notifications": honored})
                await session.send_notification(notification.model_copy(update={"params": params}), related_request_id)
                for task_id in self._by_uri.values():
                    await self._tell(task_id, params.meta, related_request_id)
            case ResourceUpdatedNotification() if str(notification.params.uri) in self._by_uri:
                uri = str(notification.params.uri)
                if uri in self._resources:
                    await session.send_notification(notification, related_request_id)
                await self._tell(self._by_uri[uri], notification.params.meta, related_request_id)
            case _:
                await session.send_notification(notification, related_request_id)

    async def _tell(self, task_id: str, meta: Any, related_request_id: Any) -> None:
        try:
            task = await self._tasks.told(task_id, self._ctx)
        except MCPError:
            return  # its job was pruned
        said: Any = TaskNotification(params={**task, "_meta": meta})
        await cast(Any, self._ctx.session).send_notification(said, related_request_id)
