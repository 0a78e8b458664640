"""The client of one ComfyUI server: every request this product makes to it, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import anyio

from orchestrator_mcp.backends import sockets
from orchestrator_mcp.backends.catalogue import Catalogues, NodeCatalogue, parse_class
from orchestrator_mcp.backends.history import (
    MARKER_KEY,
    DeclaredOutput,
    HistoryEntry,
    marked_in,
    newest_in,
    parse_history,
)
from orchestrator_mcp.backends.messages import Message
from orchestrator_mcp.backends.queues import (
    BackendStats,
    QueueSnapshot,
    parse_queue,
    parse_queue_remaining,
    parse_stats,
)
from orchestrator_mcp.backends.rejections import Submission, parse_rejection, parse_submission, too_large
from orchestrator_mcp.backends.shapes import record
from orchestrator_mcp.backends.transfers import OutputStream, UploadBody, check_view, parse_upload
from orchestrator_mcp.backends.transport import Answer, SendWatch, Transport, foreign_errors_mapped
from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.errors import BackendAmbiguousError
from orchestrator_mcp.settings import BackendSettings, LimitSettings, SchedulingSettings

CANCEL_BY_JOB: Final = (0, 26)
"""The first version with `POST /api/jobs/{id}/cancel`."""
INTERRUPT_BY_ID: Final = (0, 3, 57)
"""The first version whose `/interrupt` heeds a prompt id; older ones stop whatever runs."""
TAKES_IDS: Final = (0, 3, 45)
"""The first version that keeps the prompt id of the caller; older ones draw their own."""

_RECENT: Final = 100  # prompts that ended last, among which one is looked for by its marker

_DOWNLOADS: Final = 4  # at one time; the other connections are for questions, which must not wait for files
_CONTROL_FACTOR: Final = 3.0  # an event loop that loads a model answers late
_UPLOAD_BYTES_PER_SECOND: Final = 2**18
_UNSAFE_IN_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


class ComfyClient:
    """Talks to one ComfyUI server; an async context manager.

    Every method raises `BackendRefusedError` when nothing was sent and `BackendAmbiguousError` when something was
    and no good answer came.

    Args:
        backend: where the server is.
        scheduling: the time-outs.
        limits: how much is taken from it.
        before_send: called when a graph is about to leave, with the connection standing; what it raises
            (`LeaseLostError`) comes out of `submit`, and nothing was sent.
        clock: measures how fast downloads come.
    """

    def __init__(
        self,
        backend: BackendSettings,
        *,
        scheduling: SchedulingSettings,
        limits: LimitSettings,
        before_send: Callable[[], None] | None = None,
        clock: Clock = SystemClock(),
    ) -> None:
        self.backend = backend
        self._limits = limits
        self._before_send = before_send
        self._clock = clock
        self._post_seconds = scheduling.post_timeout
        self._probe_seconds = scheduling.probe_timeout
        self._control_seconds = scheduling.probe_timeout * _CONTROL_FACTOR
        self._version: tuple[int, ...] | None = None
        self._downloads = anyio.Semaphore(_DOWNLOADS, fast_acquire=True)
        self._transport = Transport(
            backend,
            connect_timeout=scheduling.connect_timeout,
            json_bytes=limits.backend_json_bytes,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    @property
    def stops_by_id(self) -> bool:
        """Whether the server can be told which prompt to stop; True until its version is known."""
        return self._version is None or self._version >= INTERRUPT_BY_ID

    async def stats(self) -> BackendStats:
        """Version, devices and start options (`GET /system_stats`); the best sign of life."""
        found = await (await self._get("/system_stats", within=self._probe_seconds)).read(parse_stats)
        self._version = found.version_tuple
        return found

    async def queue_remaining(self) -> int:
        """How many prompts the server has, pending and running (`GET /prompt`); the cheapest question."""
        return await (await self._get("/prompt", within=self._probe_seconds)).read(parse_queue_remaining)

    async def queue(self) -> QueueSnapshot:
        """What runs and what waits there (`GET /queue`); it carries every graph, so ask seldom."""
        return await (await self._get("/queue")).read(parse_queue)

    async def object_info(self, known: Catalogues | None = None) -> NodeCatalogue:
        """The node classes of the server and the files they offer (`GET /object_info`); some megabytes.

        Args:
            known: catalogues of other servers; an equal one is theirs, and not read again.
        """
        known = known or Catalogues()
        answer = await self._get("/object_info", within=self._post_seconds)
        return await answer.decode(known.read, known.turn)

    async def node_class(self, class_type: str) -> Mapping[str, Any] | None:
        """One node class of the server (`GET /object_info/{class}`), as in its catalogue; None if it has none such."""
        answer = await self._get(f"/object_info/{quote(class_type, safe='')}")
        return await answer.read(lambda said: parse_class(said, class_type))

    async def submit(
        self,
        graph: Mapping[str, Any],
        *,
        prompt_id: str,
        client_id: str,
        marker: Mapping[str, Any],
        workflow_png_info: Mapping[str, Any] | None = None,
    ) -> Submission:
        """Hand a graph over (`POST /prompt`).

        Args:
            graph: a workflow in API format; every node needs a dict `inputs`, or the server's worker dies of it.
            prompt_id: a canonical lower-case UUID, never used before on this server: it would run twice.
            client_id: under which its events are heard.
            marker: kept in `extra_data`, readable in queue and history.
            workflow_png_info: the workflow in UI format, to be written into PNG files.

        Returns:
            What the server says; look at `prompt_id` (old servers draw their own) and at `node_errors`.

        Raises:
            BackendRefusedError: no byte was sent, or a proxy refused.
            PromptRejectedError: the server refused the graph; `missing` says what another backend may have.
            BackendAmbiguousError: it may be queued, or not: time-out, reset, 5xx, redirect, an unreadable answer.
        """
        extra: dict[str, Any] = {MARKER_KEY: dict(marker)}
        if workflow_png_info is not None:
            extra["extra_pnginfo"] = {"workflow": dict(workflow_png_info)}
        # `number` is never sent: equal numbers kill the server's worker thread.
        body = _encoded({"prompt": graph, "prompt_id": prompt_id, "client_id": client_id, "extra_data": extra})
        answer = await self._transport.ask(
            "POST", "/prompt", within=self._post_seconds, json=body, before_send=self._before_send
        )
        if answer.status == 400:
            await self._raise_rejection(answer)
        if answer.status == 413:
            raise too_large(backend_id=self.backend.id, size=len(body))
        return await answer.require_success().read(parse_submission)

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """How a prompt ended (`GET /history/{id}`).

        Args:
            prompt_id: the prompt.

        Returns:
            None while it is pending or running, and if it is unknown or forgotten: look into `queue` first.
        """
        answer = await self._get(f"/history/{quote(prompt_id, safe='')}")
        return await answer.read(lambda document: parse_history(document, prompt_id))

    async def history_of_marked(self, marker: Mapping[str, Any]) -> HistoryEntry | None:
        """How a prompt ended that the server gave an id of its own, which nobody told us.

        Args:
            marker: what was sent beside it.

        Returns:
            None from a server that keeps our ids, and if none of its last 100 prompts has the marker.
        """
        version = self._version if self._version is not None else (await self.stats()).version_tuple
        if version >= TAKES_IDS:
            return None
        answer = await self._get(f"/history?max_items={_RECENT}")
        return await answer.read(lambda document: marked_in(document, marker))

    async def newest_prompt(self) -> str | None:
        """The prompt that the server ended last, whoever it belongs to (`GET /history?max_items=1`).

        Returns:
            None if it has ended none since it started, or forgot them.
        """
        answer = await self._get("/history?max_items=1")
        return await answer.read(newest_in)

    async def forget(self, prompt_id: str) -> None:
        """Delete a prompt from the server's history, which otherwise fills its memory.

        Args:
            prompt_id: the prompt.
        """
        await self._post("/history", {"delete": [prompt_id]})

    async def delete_queued(self, prompt_id: str) -> None:
        """Take a prompt out of the queue; nothing happens if it already runs. Look afterwards.

        Args:
            prompt_id: the prompt; one entry of that id goes at a time.
        """
        await self._post("/queue", {"delete": [prompt_id]})

    async def cancel_running(self, prompt_id: str, *, allow_blind: bool = False) -> bool:
        """Stop exactly this prompt, if the server can be told which.

        Stopping is advice that a server may miss: ask again until the prompt is gone.

        Args:
            prompt_id: the prompt.
            allow_blind: on servers before 0.3.57, stop what runs if that is this prompt and nothing else is queued.

        Returns:
            Whether the server was told. False: it is too old, or (from 0.26) has no such prompt to stop.
        """
        version = self._version if self._version is not None else (await self.stats()).version_tuple
        if version >= CANCEL_BY_JOB:
            told = await self._cancel_job(prompt_id)
            if told is not None:
                return told
        if version >= INTERRUPT_BY_ID:
            await self._post("/interrupt", {"prompt_id": prompt_id})
            return True
        if not allow_blind or not await self._runs_alone(prompt_id):
            return False
        await self._post("/interrupt", {})
        return True

    async def free(self) -> bool:
        """Have the server unload its models and drop its cache (`POST /free`): after the running prompt, if any.

        Returns:
            Whether it was told; False for a server that is too old to say its version, which may not know the request.
        """
        version = self._version if self._version is not None else (await self.stats()).version_tuple
        if not version:
            return False
        await self._post("/free", {"unload_models": True, "free_memory": True})
        return True

    @asynccontextmanager
    async def view(self, output: DeclaredOutput) -> AsyncIterator[OutputStream]:
        """Open an output file (`GET /view`); waits while four others are open.

        Args:
            output: a declared file (not a text that came without one).

        Yields:
            Its length, media type and bytes.

        Raises:
            ArtifactError: the server does not have it, or it is over `limits.output_bytes`.
        """
        watch = SendWatch()
        action = f"GET /view of {output.filename[:200]!r}"
        params = {"filename": output.filename, "subfolder": output.subfolder, "type": output.type}
        opening = self._transport.stream("/view", params=params, idle=self._control_seconds, watch=watch)
        async with self._downloads, AsyncExitStack() as stack:
            mapped = foreign_errors_mapped(self.backend.id, action, sent=lambda: watch.sent)
            with mapped, anyio.fail_after(self._control_seconds):
                response = await stack.enter_async_context(opening)
            check_view(response, backend_id=self.backend.id, action=action)
            yield OutputStream(
                response,
                backend_id=self.backend.id,
                action=action,
                most_bytes=self._limits.output_bytes,
                clock=self._clock,
            )

    async def input_size(self, name: str) -> int | None:
        """How long a file in the server's input folder is (`HEAD /view`).

        Args:
            name: as `upload` gave it.

        Returns:
            Bytes; None when there is no such file, or the server does not say.
        """
        watch, params = SendWatch(), {"filename": name, "type": "input"}
        action = "HEAD /view"
        opening = self._transport.stream("/view", params=params, idle=self._control_seconds, watch=watch, method="HEAD")
        mapped = foreign_errors_mapped(self.backend.id, action, sent=lambda: watch.sent)
        with mapped, anyio.fail_after(self._control_seconds):
            async with opening as response:
                length = response.headers.get("content-length", "")
                there = response.status == 200 and length.isascii() and length.isdecimal() and len(length) < 19
                return int(length) if there else None

    async def upload(self, name: str, content: bytes | Path, media_type: str) -> str:
        """Put a file into the server's input folder (`POST /upload/image`, which takes any kind).

        Args:
            name: best the content's hash and an extension: then repeating it changes nothing. Characters other
                than `A-Z a-z 0-9 . _ -` become `_`.
            content: the bytes, or a file of ours.
            media_type: for example `image/png`.

        Returns:
            The name to write into a loader's input; the server may have chosen another.

        Raises:
            OSError: our own file cannot be opened.
        """
        async with UploadBody.opened(_UNSAFE_IN_NAME.sub("_", name), content, media_type) as body:
            answer = await self._transport.ask(
                "POST",
                "/upload/image",
                within=self._post_seconds + body.size / _UPLOAD_BYTES_PER_SECOND,
                content=body.chunks(),
                headers=body.headers,
            )
        return await answer.require_success().read(parse_upload)

    def listen(self, client_id: str) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Hear what happens to the prompts sent under a client id; see `sockets.listen`.

        Args:
            client_id: fresh for every connection.
        """
        return sockets.listen(self.backend, client_id, open_timeout=self._probe_seconds)

    async def _get(self, path: str, *, within: float | None = None) -> Answer:
        answer = await self._transport.ask("GET", path, within=self._control_seconds if within is None else within)
        return answer.require_success()

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        answer = await self._transport.ask("POST", path, within=self._control_seconds, json=_encoded(body))
        answer.require_success()

    async def _raise_rejection(self, answer: Answer) -> None:
        try:
            rejection = await answer.read(lambda said: parse_rejection(said, backend_id=self.backend.id))
        except BackendAmbiguousError:
            rejection = None
        if rejection is not None:
            raise rejection

    async def _cancel_job(self, prompt_id: str) -> bool | None:
        """Whether the server stopped it; None if it does not know the request after all."""
        path = f"/api/jobs/{quote(prompt_id, safe='')}/cancel"
        answer = await self._transport.ask("POST", path, within=self._control_seconds, json=b"{}")
        if answer.status in (404, 405):
            return None
        return await answer.require_success().read(lambda said: record(said).get("cancelled") is True)

    async def _runs_alone(self, prompt_id: str) -> bool:
        queue = await self.queue()
        return not queue.pending and [prompt.prompt_id for prompt in queue.running] == [prompt_id]


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")
