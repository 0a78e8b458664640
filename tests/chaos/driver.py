"""A run: many lives of one orchestrator on one folder, each ended by SIGKILL, and a last one that ends well."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx

from orchestrator_mcp.sandbox import SandboxServer
from tests.chaos.doors import Wish, ask, wishes
from tests.chaos.ground import Ground
from tests.chaos.life import Life, life
from tests.chaos.orchestrator import ANY

LONGEST_LIFE: Final = 8.0  # seconds after which a life ends even if its step was not reached
STOPS_WITHIN: Final = 10.0
STEPS_OF_A_JOB: Final = 13
PAGE: Final = 200
TROUBLES: Final = (
    "prompt-500",
    "prompt-refuse-500",
    "zombie-a",
    "zombie-b",
    "freeze",
    "ws-deaf",
    "prompt-drop",
    "prompt-delay:300",
    "history-delay:200",
    "ws-drop:3",
    "no-ws",
    "slow-http:50",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done in a run; the same plan does the same, as far as processes can.

    Attributes:
        sick: whether backends die and misbehave too.
        finish_within: seconds for the jobs that are left at the end.
    """

    seed: int
    jobs: int
    kills: int
    sick: bool = False
    finish_within: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Death:
    """How a life ends: at the nth step of any kind, or so many seconds after its start or its doors' opening."""

    step: int | None = None
    after_start: float | None = None
    after_opening: float | None = None


def deaths(rng: random.Random, jobs: int) -> Death:
    """Draw one.

    Args:
        rng: from which.
        jobs: how many of them a life should do, on the average.
    """
    match rng.randrange(4):
        case 0:
            return Death(after_start=rng.uniform(0.2, 3.0))
        case 1:
            return Death(after_opening=rng.uniform(0.0, 1.5))
        case _:
            return Death(step=rng.randint(1, 2 * jobs * STEPS_OF_A_JOB))


async def carry_out(ground: Ground, plan: Plan) -> None:
    """Do what a plan says; everything has ended and is delivered afterwards, and the orchestrator has stopped."""
    rng = random.Random(plan.seed)
    asked = wishes(plan.seed, plan.jobs)
    for number in range(plan.kills):
        so_far = asked[: (number + 1) * plan.jobs // plan.kills]
        async with _trouble(ground, rng) if plan.sick else _peace():
            await short_life(ground, so_far, deaths(rng, max(1, plan.jobs // plan.kills)))
    await last_life(ground, asked, within=plan.finish_within)


async def short_life(ground: Ground, asked: Sequence[Wish], death: Death) -> None:
    """A life that ends with SIGKILL."""
    crash_at = ANY if death.step is not None else None
    async with (
        life(ground.config, crash_at=crash_at, nth=death.step or 1) as running,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ask_when_open, ground, running, asked, name="ask")
        if death.after_start is not None:
            await _until_dead(running, death.after_start)
        elif await running.opened():
            await _until_dead(running, LONGEST_LIFE if death.after_opening is None else death.after_opening)
        tasks.cancel_scope.cancel()  # an agent that lost its stream may wait for ever


async def crash_at_step(ground: Ground, asked: Sequence[Wish], step: str) -> None:
    """A life that ends by itself at a named step. Raises TimeoutError when it never comes there."""
    async with life(ground.config, crash_at=step) as running, anyio.create_task_group() as tasks:
        tasks.start_soon(ask_when_open, ground, running, asked, name="ask")
        with anyio.fail_after(60):
            await running.over.wait()
        tasks.cancel_scope.cancel()


async def last_life(ground: Ground, asked: Sequence[Wish], *, within: float = 120.0) -> None:
    """A life in which everything is finished and delivered, and which ends with SIGTERM."""
    async with life(ground.config) as running:
        assert await running.opened(), "it does not start any more"
        with anyio.fail_after(within):
            while unconfirmed(ground, asked):
                await ask(ground, running.url, asked)
            await ground.until_all_delivered(len(asked))
        ground.answers = await answers(running.url)
        with anyio.fail_after(STOPS_WITHIN):
            code = await running.stop()
        assert code == 0, f"SIGTERM ended it with {code}"


def unconfirmed(ground: Ground, asked: Sequence[Wish]) -> list[Wish]:
    """Wishes that were neither confirmed nor dropped into the Inbox."""
    return [wish for wish in asked if wish.key not in ground.keys and f"{wish.key}.json" not in ground.dropped]


async def answers(url: str) -> dict[str, dict[str, Any]]:
    """What the API says of every job."""
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        while True:
            page = (
                await http.get("/api/jobs", params={"limit": PAGE, **({"cursor": cursor} if cursor else {})})
            ).json()
            found |= {view["job_id"]: view for view in page["jobs"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return found


async def ask_when_open(ground: Ground, running: Life, asked: Sequence[Wish]) -> None:
    """Ask for jobs as soon as the doors are open, until it dies."""
    if await running.opened():
        await ask(ground, running.url, asked)


async def _until_dead(running: Life, seconds: float) -> None:
    """Let it live on for a while, then kill it: the moment is drawn, nothing waits for it."""
    with anyio.move_on_after(seconds):
        await running.over.wait()
    running.kill()
    await running.over.wait()


@asynccontextmanager
async def _peace() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _trouble(ground: Ground, rng: random.Random) -> AsyncIterator[None]:
    """For the time of the block, one backend misbehaves; some die in the middle of it."""
    server = rng.choice(ground.farm)
    fault = rng.choice(TROUBLES)
    dies = rng.random() < 0.4
    async with anyio.create_task_group() as tasks:
        server.set_fault(fault)
        if dies:
            tasks.start_soon(_kill_while_rendering, ground, server, name="kill a backend")
        yield
        server.clear_faults()
        tasks.cancel_scope.cancel()


async def _kill_while_rendering(ground: Ground, server: SandboxServer) -> None:
    await server.until(lambda seen: seen.queue.running is not None)
    await ground.restart(server)
