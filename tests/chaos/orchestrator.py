"""The orchestrator as a process that can be told where to die: `python -m tests.chaos.orchestrator`.

Everything is the product's own but for the callback at each step. It prints its URL when its doors are open.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial
from pathlib import Path

import anyio

from orchestrator_mcp.app import Choices, Orchestrator, serve
from orchestrator_mcp.domain.steps import AtStep, Step, no_step
from orchestrator_mcp.logs import configure_logging
from orchestrator_mcp.settings import load_settings

ANY = "any"


class Bomb:
    """Kills its own process, without another instruction, at the nth time that a step is reached.

    Args:
        step: the step's name, or `any`.
        nth: 1 for the first time.
    """

    def __init__(self, step: str, nth: int) -> None:
        self._step = None if step == ANY else Step(step)
        self._left = nth

    def __call__(self, step: Step) -> None:
        if self._step not in (None, step):
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _announce(running: Orchestrator) -> None:
    sys.stdout.write(f"{running.url}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until a signal or the bomb."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--crash-at", help=f"a step's name, or {ANY}")
    parser.add_argument("--nth", type=int, default=1)
    given = parser.parse_args()
    settings = load_settings(given.config, port=0, environ={})
    at_step: AtStep = Bomb(given.crash_at, given.nth) if given.crash_at else no_step
    with configure_logging(settings.log_dir, "info", console=False):
        anyio.run(
            partial(
                serve,
                settings,
                Choices(at_step=at_step),
                ready=_announce,
            )
        )


if __name__ == "__main__":
    main()
