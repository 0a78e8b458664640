"""What an operator says of a backend holds at once, is shown with who and when, and outlives the process."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.domain.access import Caller, Scope
from orchestrator_mcp.domain.wishes import Action
from orchestrator_mcp.errors import ConflictError, ForbiddenError, ManifestError, NotFoundError
from orchestrator_mcp.sandbox import SandboxServer
from tests.partners import SandboxFactory, sandboxes
from tests.scheduler.core import PICTURE, Core, backend_for, core, render
from tests.world.house import CARD, backend, configured, house, write_config

__all__ = ["sandboxes"]
ALICE = Caller(name="alice", scope=Scope.ADMIN)


async def say(running: Core, action: Action, backend_id: str = "one") -> str:
    return (await running.service.operators.act(backend_id, action, by=ALICE)).status


async def test_a_drained_backend_ends_what_renders_and_gives_back_what_stands_by(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    slow = await sandboxes(step_ms=30)
    async with core(tmp_path, [backend_for(slow, "one", max_concurrent_jobs=2)]) as running:
        first = await running.submit(render(steps=30))
        await running.until(first, "running", stage="rendering")
        second = await running.submit(render(steps=1, seed=2))
        await running.until(second, "running", stage="waiting")
        view = await running.service.operators.act("one", Action.DRAIN, by=ALICE, note="new RAM")
        assert (view.status, view.enabled) == ("draining", True)
        assert view.wish is not None and (view.wish.by, view.wish.note) == ("alice", "new RAM")
        assert "it is drained" in (view.reason or "") and "alice" in (view.reason or "")
        waiting = await running.until(second, "queued")
        assert waiting.attempts[0].outcome == "revoked"
        assert "it is drained" in (waiting.attempts[0].reason or "")
        assert (await running.end_of(first)).status == "completed"
        told = await running.service.job(second)
        assert (told.status, len(told.attempts)) == ("queued", 1)
        assert told.waiting_because[0].reason.startswith("it is drained")
        assert await say(running, Action.RESUME) == "idle"
        ended = await running.end_of(second)
        assert (ended.status, len(ended.attempts)) == ("completed", 2)


async def test_a_paused_backend_ends_all_that_it_has_and_gets_nothing_new(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    slow = await sandboxes(step_ms=20)
    async with core(tmp_path, [backend_for(slow, "one", max_concurrent_jobs=2)]) as running:
        first = await running.submit(render(steps=20))
        await running.until(first, "running", stage="rendering")
        second = await running.submit(render(steps=1, seed=2))
        await running.until(second, "running", stage="waiting")
        assert await say(running, Action.PAUSE) == "paused"
        third = await running.submit(PICTURE)
        assert (await running.end_of(second)).attempts[-1].outcome == "succeeded"
        assert (await running.service.job(third)).status == "queued"
        await say(running, Action.RESUME)
        assert (await running.end_of(third)).status == "completed"


async def test_a_disabled_backend_is_left_alone_until_it_is_enabled(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    server = await sandboxes()
    async with core(tmp_path, [backend_for(server, "one")]) as running:
        await running.until_backend("one", "idle")
        view = await running.service.operators.act("one", Action.DISABLE, by=ALICE)
        assert (view.status, view.enabled, view.online) == ("disabled", False, False)
        job = await running.submit(PICTURE)
        assert (await running.service.job(job)).waiting_because[0].reason.startswith("it is disabled (by alice")
        assert await say(running, Action.ENABLE) == "offline"
        assert (await running.end_of(job)).status == "completed"


async def test_a_backend_that_is_enabled_again_does_not_say_that_nobody_looks_at_it(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes()
    async with core(tmp_path, [backend_for(server, "one")]) as running:
        await running.until_backend("one", "idle")
        await say(running, Action.DISABLE)
        view = await running.service.operators.act("one", Action.ENABLE, by=ALICE)
        assert (view.status, view.reason) == ("offline", "it is offline: it has not answered yet")
        await running.until_backend("one", "idle")


async def test_saying_it_twice_keeps_who_said_it_first(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with core(tmp_path, [backend_for(await sandboxes(), "one")]) as running:
        operators = running.service.operators
        first = await operators.act("one", Action.PAUSE, by=ALICE, note="lunch")
        again = await operators.act("one", Action.PAUSE)
        assert again.wish == first.wish
        changed = await operators.act("one", Action.DRAIN)
        assert changed.wish is not None and (changed.wish.kind, changed.wish.by) == ("draining", "anonymous")
        assert (await operators.act("one", Action.ENABLE)).wish == changed.wish


async def test_what_cannot_be_done_is_refused_in_words(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    server = await sandboxes()
    off, held = backend_for(server, "off", enabled=False), backend_for(server, "held", paused=True)
    async with core(tmp_path, [off, held, backend_for(server, "one")]) as running:
        operators = running.service.operators
        with pytest.raises(ConflictError, match="enabled: true"):
            await operators.act("off", Action.ENABLE)
        with pytest.raises(ConflictError, match="paused: false"):
            await operators.act("held", Action.RESUME)
        await operators.act("one", Action.DISABLE)
        with pytest.raises(ConflictError, match="enable it"):
            await operators.act("one", Action.RESUME)
        with pytest.raises(NotFoundError):
            await operators.act("nobody", Action.DRAIN)
        with pytest.raises(ManifestError):
            await operators.act("one", Action.DRAIN, note="x" * 201)
        with pytest.raises(ForbiddenError):
            await operators.act("one", Action.DRAIN, by=Caller(name="bob", scope=Scope.SUBMIT))
        assert running.service.backend("held").status == "paused"


async def test_a_wish_outlives_the_process_and_a_reload_of_the_file(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    server, other = await sandboxes(), await sandboxes()
    async with house(tmp_path, configured(backend("one", server))) as at:
        answer = await at.api.post("/api/backends/one/drain", params={"note": "it smells \x1b[31mburnt"})
        assert answer.status_code == 200, answer.text
        assert "\x1b" not in answer.json()["wish"]["note"]
    async with house(tmp_path, configured(backend("one", server))) as at:
        job = await at.submit(CARD)
        view = (await at.backends())["one"]
        assert (view["status"], view["wish"]["by"]) == ("draining", "anonymous")
        write_config(tmp_path, configured(backend("one", other)))  # the same name at another address
        with anyio.fail_after(20):
            while (await at.backends())["one"]["port"] != other.port:  # noqa: ASYNC110 - only asking tells
                await anyio.sleep(0.02)
        assert (await at.backends())["one"]["status"] == "draining"
        assert (await at.job(job))["status"] == "queued"
        assert (await at.api.post("/api/backends/one/resume")).json()["wish"] is None
        assert (await at.ended(job))["status"] == "completed"


async def test_the_api_refuses_what_it_does_not_know(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as at:

        async def status(method: str, path: str) -> int:
            return (await at.api.request(method, path)).status_code

        assert await status("POST", "/api/backends/nobody/drain") == 404
        assert await status("POST", "/api/backends/one/explode") == 404
        assert await status("GET", "/api/backends/one/drain") == 405
        assert await status("POST", "/api/backends/one/drain?note=" + "x" * 201) == 422
        assert await status("POST", "/api/backends/one/drain?because=x") == 422
        assert await status("DELETE", "/api/backends/one/blocked?signature=nothing") == 404
        assert await status("DELETE", "/api/backends/one/blocked") == 200
        await at.api.post("/api/backends/one/disable")
        refused = await at.api.post("/api/backends/one/resume")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_two_say_something_at_once_and_what_is_shown_is_what_is_on_record(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server: SandboxServer = await sandboxes()
    async with house(tmp_path, configured(backend("one", server))) as at:

        async def say(action: str) -> None:
            assert (await at.api.post(f"/api/backends/one/{action}")).status_code in (200, 409)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for action in ("drain", "pause", "resume", "disable", "enable") * 4:
                    tasks.start_soon(say, action)
        shown = (await at.backends())["one"]["wish"]
        kept = (await at.store.backends.wishes()).get("one")
        assert (shown and shown["kind"]) == (kept and kept.kind.value)
