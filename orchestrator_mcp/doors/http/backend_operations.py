"""What the API does about backends, as plain values; see `operations`."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.wishes import Action
from orchestrator_mcp.doors.http.operations import Answer, Operation

_BACKEND: Final = Answer(text="The backend.", schema="BackendView", example="backend")
_AFTERWARDS: Final = Answer(text="The backend as it is now.", schema="BackendView", example="backend")

_SAID: Final[dict[Action, tuple[str, str]]] = {
    Action.DRAIN: (
        "Drain a backend",
        "It gets nothing new, and what stands by in its queue is taken back and goes elsewhere; what renders goes on.",
    ),
    Action.PAUSE: ("Pause a backend", "It gets nothing new; all that it has goes on."),
    Action.RESUME: (
        "Resume a backend",
        "Ends a drain or a pause. 409 when it is disabled, or paused in the configuration.",
    ),
    Action.ENABLE: ("Enable a backend", "Ends a disable. 409 when the configuration has disabled it."),
    Action.DISABLE: (
        "Disable a backend",
        "Takes it out of the farm: it ends what renders there, and is not even looked at then.",
    ),
}


def _operation(action: Action) -> Operation:
    summary, text = _SAID[action]
    return Operation(
        method="post",
        path=f"/api/backends/{{backend_id}}/{action.value}",
        name=f"{action.value}_backend",
        tag="farm",
        summary=summary,
        text=f"{text} Outlives a restart, and shows who said so and when. Saying it again is fine. Needs `admin`.",
        query="operate",
        answers=((200, _AFTERWARDS),),
        errors=(404, 409, 422, 503),
    )


BACKEND_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="get",
        path="/api/backends",
        name="list_backends",
        tag="farm",
        summary="List backends",
        text="Every configured ComfyUI server as it is now, as a bare list.",
        answers=((200, Answer(text="The backends.", schema="BackendView", is_list=True, example="backends")),),
    ),
    Operation(
        method="get",
        path="/api/backends/{backend_id}",
        name="get_backend",
        tag="farm",
        summary="Look at a backend",
        text="One ComfyUI server as it is now.",
        answers=((200, _BACKEND),),
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/api/backends/{backend_id}/object_info",
        name="get_node_classes",
        tag="farm",
        summary="The nodes of a backend",
        text="What the backend's own `GET /object_info` said when it was last asked: node class -> definition. Some "
        "megabytes; send the ETag back to learn that nothing has changed.",
        headers=("If-None-Match",),
        answers=(
            (
                200,
                Answer(
                    text="The node classes.",
                    schema="NodeClassesDocument",
                    headers=(("ETag", "The same for equal node classes."),),
                ),
            ),
            (304, Answer(text="The caller has it already.")),
        ),
        errors=(404, 503),
    ),
    *(_operation(action) for action in Action),
    Operation(
        method="delete",
        path="/api/backends/{backend_id}/blocked",
        name="unblock_backend",
        tag="farm",
        summary="Forget what failed on a backend",
        text="Kinds of work that failed there and avoid it (`blocked`) may go there again, all of them or one. "
        "Needs `admin`.",
        query="unblock",
        answers=((200, _AFTERWARDS),),
        errors=(404, 422),
    ),
)
