"""What tells jobs apart, in few words: the values in which they differ. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator_mcp.domain.jobs import Job
from orchestrator_mcp.domain.text import told, without_secrets

_VALUE: Final = 80  # bytes of one value
_MOST_PARTS: Final = 6
_SEED_NAMES: Final = frozenset({"seed", "noise_seed"})


def captions(jobs: Sequence[Job]) -> list[str]:
    """One caption for each job: `seed 12, steps 30`; where nothing differs, the end of its id.

    Args:
        jobs: those that are shown together.
    """
    rows = [_values(job) for job in jobs]
    names = list(dict.fromkeys(name for row in rows for name in row))
    spelled = [{name: _spelled(row[name]) for name in row} for row in rows]
    varying = [name for name in names if len({row.get(name) for row in spelled}) > 1]
    labels = _labels(varying)
    return [_caption(row, varying, labels) or job.job8 for job, row in zip(jobs, spelled, strict=True)]


def _values(job: Job) -> dict[str, Any]:
    """What a job was made with: its workflow, its parameters, and the seeds that were really in force."""
    given = {name: value for name, value in without_secrets(job.parameters).items() if not _is_seed(name)}
    seeds: Mapping[str, int] = job.seeds
    distinct = set(seeds.values())
    drawn = {"seed": distinct.pop()} if len(distinct) == 1 else dict(seeds)
    return {"workflow": job.workflow_id, **drawn, **given}


def _is_seed(name: str) -> bool:
    return name.replace(":", ".").rpartition(".")[2] in _SEED_NAMES


def _labels(names: Sequence[str]) -> dict[str, str]:
    """`6.text` is called `text` where no other is."""
    short = {name: name.replace(":", ".").rpartition(".")[2] for name in names}
    often = Counter(short.values())
    return {name: label if often[label] == 1 else name for name, label in short.items()}


def _caption(row: Mapping[str, str], varying: Sequence[str], labels: Mapping[str, str]) -> str:
    parts = [f"{told(labels[name], limit=_VALUE)} {row[name]}" for name in varying if name in row]
    return ", ".join(parts[:_MOST_PARTS])


def _spelled(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return told(str(value), limit=_VALUE)
