"""Batches for tests of the store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from orchestrator_mcp.domain.jobs import Door, new_batch_id
from orchestrator_mcp.store import BatchSpec, JobSpec, NewBatch, NewJob
from tests.store.building import GRAPH, NOON, new_job


def jobs_with_seeds(count: int, *, at: datetime = NOON, **fields: Any) -> list[NewJob]:
    """Jobs that differ in their seed."""
    first = new_job(at=at, **fields)
    return [
        replace(first, job_id=new_job(at=at).job_id, spec=replace(first.spec, parameters={"seed": seed}))
        for seed in range(count)
    ]


def new_batch(count: int = 3, *, at: datetime = NOON, jobs: list[NewJob] | None = None, **fields: Any) -> NewBatch:
    """A checked manifest of many jobs, ready to be accepted."""
    made = jobs_with_seeds(count, at=at) if jobs is None else jobs
    lanes = list(dict.fromkeys(one.lane for one in made))
    values: dict[str, Any] = {
        "batch_id": new_batch_id(at),
        "owner": "anonymous",
        "door": Door.HTTP,
        "workflow_id": "card",
        "stem": "card",
        "spec": BatchSpec(varies=["seed"], mode="product"),
        "submitted_at": at,
        "graph": json.dumps(GRAPH),
        "graph_hash": made[0].graph_hash,
        "lanes": lanes,
        "job_ids": [one.job_id for one in made],
        "lane_of": [lanes.index(one.lane) for one in made],
        "specs": [one.spec.to_json() for one in made],
        "linked": {index: one.spec for index, one in enumerate(made) if one.spec.parents},
    }
    return NewBatch(**{**values, **fields})


def spec_with_parent(parent: str) -> JobSpec:
    """Of a job that waits for another one."""
    return JobSpec(parameters={}, parents=[parent])
