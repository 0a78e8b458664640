"""What the API does about batches, as plain values; see `operations`."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.doors.http.operations import EVENT_STREAM, Answer, Operation

_BATCH: Final = Answer(text="Where the batch stands.", schema="BatchView", example="batch")

BATCH_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="get",
        path="/api/batches",
        name="list_batches",
        tag="batches",
        summary="List batches",
        text="A page of batches, newest first, each with its counts.",
        query="batches",
        answers=((200, Answer(text="A page.", schema="BatchListView", example="batches")),),
        errors=(422,),
    ),
    Operation(
        method="get",
        path="/api/batch/{batch_id}",
        name="get_batch",
        tag="batches",
        summary="Look at a batch",
        text="Where its jobs stand, rolled up. The jobs themselves: `GET /api/jobs?batch_id=…`.",
        answers=((200, _BATCH),),
        errors=(404,),
    ),
    Operation(
        method="delete",
        path="/api/batch/{batch_id}",
        name="cancel_batch",
        tag="batches",
        summary="Cancel a batch",
        text="Asks for the end of every job that has not ended: those that wait are cancelled at once, those that run "
        "when their backend confirms it. Asking again is fine; what has ended stays as it is.",
        answers=((202, _BATCH),),
        errors=(404, 503),
    ),
    Operation(
        method="post",
        path="/api/batch/{batch_id}/retry",
        name="retry_batch",
        tag="batches",
        summary="Do the failed jobs again",
        text="Makes a new job for each that failed or was cancelled, with the same values and seeds, `rerun_of` the "
        "old one. The new ones count in place of the old. It takes no body.",
        answers=(
            (
                202,
                Answer(
                    text="Accepted.",
                    schema="BatchAcceptedView",
                    example="batch_accepted",
                    headers=(("Location", "Where the batch is."),),
                ),
            ),
        ),
        errors=(404, 409, 413, 429, 503),
    ),
    Operation(
        method="get",
        path="/api/batch/{batch_id}/contact-sheet",
        name="batch_contact_sheet",
        tag="batches",
        summary="See the pictures side by side",
        text="A PNG with the pictures of the jobs in their order, each with the values that are its own; drawn anew "
        "for each call, as far as the batch is. At most 400 pictures. 404 before the first job is completed.",
        answers=((200, Answer(text="The sheet.", media_type="image/png")),),
        errors=(404, 429),
    ),
    Operation(
        method="get",
        path="/api/batch/{batch_id}/stream",
        name="stream_batch",
        tag="streams",
        summary="Follow a batch (WebSocket)",
        text="A WebSocket. Each message is a BatchEvent: where the batch stands first, then its changes, at most five "
        "in a second, then `end`, then close code 1000. Other codes as for a job.",
        answers=((101, Answer(text="Each message is one of these.", schema="BatchEvent", example="batch_event")),),
        errors=(426, 429),
    ),
    Operation(
        method="get",
        path="/api/batch/{batch_id}/events",
        name="batch_events",
        tag="streams",
        summary="Follow a batch (server-sent events)",
        text="The same as the WebSocket: `event` is the type, `id` the number of the newest history row, `data` a "
        "BatchEvent.",
        headers=("Last-Event-ID",),
        answers=(
            (200, Answer(text="The stream.", media_type=EVENT_STREAM, schema="BatchEvent")),
            (204, Answer(text="The batch has ended and the caller has seen that.")),
        ),
        errors=(404, 429),
    ),
)
