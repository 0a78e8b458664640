"""Submit, cancel, kill, restart, backends down and up, in any order, against a model of what must become of a job."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.chaos.checker import check
from tests.chaos.driver import answers
from tests.chaos.ground import ground
from tests.chaos.life import Life, life
from tests.partners import text_to_image

WITHIN = 60.0  # seconds until everything has ended
IN_DOUBT = {"outcome_unknown", "poison_suspected"}  # how a job may fail when backends died with it

pytestmark = pytest.mark.chaos


class AnyOrder(RuleBasedStateMachine):
    """The orchestrator is a real process; the backends live in this one and survive it."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._life = ExitStack()
        self.running: Life | None = None
        self.wished: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.deaths = 0

    @initialize()
    def prepare(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        self._portal = self._stack.enter_context(start_blocking_portal())
        self.ground = self._stack.enter_context(
            self._portal.wrap_async_context_manager(ground(folder, servers=2, step_ms=30))
        )
        self.start()
        self.submit([6, 12])

    @precondition(lambda self: self.running is None)
    @rule()
    def start(self) -> None:
        self._life = ExitStack()
        self.running = self._life.enter_context(self._portal.wrap_async_context_manager(life(self.ground.config)))
        assert self._portal.call(self.running.opened), "it does not start any more"

    @precondition(lambda self: self.running is not None)
    @rule(restart=st.sampled_from([True, True, False]))
    def kill(self, restart: bool) -> None:
        assert self.running is not None
        self.running.kill()
        self._end_life()
        if restart:
            self.start()

    @precondition(lambda self: self.running is not None)
    @rule()
    def stop(self) -> None:
        assert self.running is not None
        assert self._portal.call(self.running.stop) == 0
        self._end_life()

    @precondition(lambda self: self.running is not None)
    @rule(renders=st.lists(st.integers(1, 20), min_size=1, max_size=4))
    def submit(self, renders: list[int]) -> None:
        for steps in renders:
            key = f"wish-{len(self.wished)}"
            graph = text_to_image(key, seed=len(self.wished), steps=steps, width=64, height=64)
            answer = self._ask("POST", "/api/job", json={"workflow": graph, "idempotency_key": key})
            again = self._ask("POST", "/api/job", json={"workflow": graph, "idempotency_key": key})
            assert (answer.status_code, again.json()["job_id"]) == (202, answer.json()["job_id"])
            self.wished[key] = self.ground.keys[key] = answer.json()["job_id"]

    @precondition(lambda self: self.running is not None and self.wished)
    @rule(place=st.integers(0, 100))
    def cancel(self, place: int) -> None:
        job_id = list(self.wished.values())[place % len(self.wished)]
        answer = self._ask("DELETE", f"/api/job/{job_id}")
        assert answer.status_code in (202, 409)
        if answer.status_code == 202:
            self.cancelled.add(job_id)

    @rule(place=st.integers(0, 1))
    def backend_down_or_up(self, place: int) -> None:
        server = self.ground.farm[place]
        if server.alive:
            self.deaths += 1
            server.oracle.write("died", port=server.port)
            self._portal.call(server.stop)
        else:
            self._portal.call(server.start)

    def teardown(self) -> None:
        """Everything comes back, everything ends; then the model and every promise are checked."""
        with self._stack:
            if not hasattr(self, "ground"):
                return
            for server in self.ground.farm:
                if not server.alive:
                    self._portal.call(server.start)
            if self.running is None:
                self.start()
            assert self.running is not None
            self._portal.call(self._all_delivered)
            self.ground.answers = self._portal.call(answers, self.running.url)
            self.stop()
            assert self._portal.call(_checked, self.ground) == []
            self._compare()

    def _compare(self) -> None:
        told = self.ground.answers
        assert set(told) == set(self.wished.values())
        for job_id, job in told.items():
            if job["status"] == "cancelled":
                assert job_id in self.cancelled
            elif job["status"] == "failed":
                assert self.deaths
                assert job["error"]["code"] in IN_DOUBT
                assert job["attention"]
            else:
                assert job["status"] == "completed"

    async def _all_delivered(self) -> None:
        with anyio.fail_after(WITHIN):
            if self.wished:
                await self.ground.until_all_delivered(len(self.wished))

    def _end_life(self) -> None:
        self._life.close()
        self.running = None

    def _ask(self, method: str, path: str, **choices: Any) -> httpx.Response:
        assert self.running is not None
        return httpx.request(method, self.running.url + path, trust_env=False, timeout=30, **choices)


async def _checked(stand: Any) -> list[str]:
    return check(stand).faults


def test_submit_cancel_kill_restart_and_backends_in_any_order_keep_every_promise() -> None:
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
