"""The full run: `python -m tests.chaos --kills 200 --jobs 2000 --seed 1`. Exit code 1 when a promise was broken."""

from __future__ import annotations

import argparse
import logging
import secrets
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import anyio

from tests.chaos.checker import Verdict, check
from tests.chaos.driver import Plan, carry_out
from tests.chaos.ground import ground

MOST_SEED = 1_000_000


def main() -> int:
    """Run one plan, or the same plan with one seed after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often the orchestrator is killed")
    parser.add_argument("--jobs", type=int, default=2000, help="how many jobs are asked for, through all doors")
    parser.add_argument("--seed", type=int, help="of everything that is drawn; a new one is drawn and told without it")
    parser.add_argument("--times", type=int, default=1, help="how often, each time with the next seed")
    parser.add_argument("--servers", type=int, default=3, help="backends of the farm")
    parser.add_argument("--healthy", action="store_true", help="leave the backends alone: then nothing may be repeated")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a good run too")
    given = parser.parse_args()
    for talker in ("mcp", "asyncio"):  # they tell at length of every server that died
        logging.getLogger(talker).setLevel(logging.CRITICAL)
    first = secrets.randbelow(MOST_SEED) if given.seed is None else given.seed
    return max(_one_run(given, seed) for seed in range(first, first + given.times))


def _one_run(given: argparse.Namespace, seed: int) -> int:
    plan = Plan(
        seed=seed,
        jobs=given.jobs,
        kills=given.kills,
        sick=not given.healthy,
        finish_within=120 + given.jobs * 0.5,
    )
    sys.stdout.write(f"seed {seed}: {plan.kills} kills over {plan.jobs} jobs\n")
    sys.stdout.flush()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    began = time.monotonic()
    verdict = anyio.run(partial(_run, folder, plan, given.servers))
    if plan.sick is False and verdict.repeated:
        verdict.faults.append(f"{verdict.repeated} jobs were rendered more than once on servers that lived")
    ends = ", ".join(f"{count} {end}" for end, count in verdict.ends.most_common())
    sys.stdout.write(
        f"seed {seed}: {ends}; {verdict.repeated} repeated and flagged; {time.monotonic() - began:.0f} s\n"
    )
    for fault in verdict.faults:
        sys.stdout.write(f"  BROKEN: {fault}\n")
    sys.stdout.flush()
    if verdict.faults or given.keep:
        sys.stdout.write(f"  Everything lies in {folder}\n")
    else:
        shutil.rmtree(folder)
    return 1 if verdict.faults else 0


async def _run(folder: Path, plan: Plan, servers: int) -> Verdict:
    async with ground(folder, servers=servers) as stand:
        await carry_out(stand, plan)
        return check(stand)


if __name__ == "__main__":
    sys.exit(main())
