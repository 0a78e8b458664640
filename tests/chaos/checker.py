"""What must hold after a run, whatever happened in it: looked for in the database, the files and the oracle."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.domain.transitions import may_follow
from orchestrator_mcp.store.schema import STATES
from tests.chaos.ground import Ground

REPEATABLE = {"lost", "timed_out", "revoked", "refused", "errored"}  # outcomes after which a job may be rendered again


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found.

    Attributes:
        faults: promises that were broken, each in a sentence; empty is good.
        ends: how many jobs ended how.
        repeated: jobs that were rendered more than once, all flagged.
    """

    faults: list[str]
    ends: Counter[str]
    repeated: int


def check(ground: Ground) -> Verdict:
    """Check everything, after the orchestrator has stopped."""
    with closing(sqlite3.connect(ground.database)) as database:
        database.row_factory = sqlite3.Row
        evidence = _Evidence(ground, database)
        faults = [
            *_sound(database),
            *_accepted_are_final(evidence),
            *_rendered_once(evidence),
            *_history_is_monotone(evidence),
            *_delivered_as_rendered(evidence),
            *_files_in_one_place(evidence),
            *_api_told_the_truth(evidence),
            *_nothing_half_done(ground.root),
        ]
        ends = Counter(_end(job) for job in evidence.jobs.values())
    return Verdict(faults=faults, ends=ends, repeated=sum(count > 1 for count in evidence.renders().values()))


class _Evidence:
    """Everything that the checks look at, read once."""

    def __init__(self, ground: Ground, database: sqlite3.Connection) -> None:
        self.ground = ground
        self.jobs = {row["uid"]: row for row in database.execute("SELECT * FROM job ORDER BY id")}
        self.attempts = _grouped(database, "SELECT job.uid, attempt.* FROM attempt JOIN job ON job.id = job_id")
        self.history = _grouped(
            database, "SELECT job.uid, history.* FROM history JOIN job ON job.id = job_id ORDER BY seq"
        )
        self.artifacts = _grouped(database, "SELECT job.uid, artifact.* FROM artifact JOIN job ON job.id = job_id")
        self.oracle = ground.oracle()

    def renders(self) -> Counter[str]:
        """How often each job was rendered to its end."""
        return Counter(_marker(line)["job_id"] for line in self.oracle if _succeeded(line))

    def hashes(self) -> dict[str, set[str]]:
        """What the servers say they made for each job."""
        made: dict[str, set[str]] = defaultdict(set)
        for line in self.oracle:
            if line["event"] == "ended":
                made[_marker(line)["job_id"]].update(line["files"].values())
        return made

    def renders_per_life(self) -> Counter[tuple[str, int, int, int]]:
        """How often each attempt was rendered between two deaths of its server."""
        deaths: Counter[int] = Counter()
        found: Counter[tuple[str, int, int, int]] = Counter()
        for line in self.oracle:
            if line["event"] == "died":
                deaths[line["port"]] += 1
            elif _succeeded(line):
                marker = _marker(line)
                found[(marker["job_id"], marker["attempt"], line["port"], deaths[line["port"]])] += 1
        return found


def _grouped(database: sqlite3.Connection, sql: str) -> dict[str, list[sqlite3.Row]]:
    groups: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in database.execute(sql):
        groups[row["uid"]].append(row)
    return groups


def _marker(line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = line["marker"]["orchestrator"]
    return found


def _succeeded(line: dict[str, Any]) -> bool:
    return bool(line["event"] == "ended" and line["outcome"] == "success")


def _state(job: sqlite3.Row) -> JobState:
    return STATES[job["state"]]


def _end(job: sqlite3.Row) -> str:
    failure = json.loads(job["failure"])["code"] if job["failure"] else ""
    return " ".join(filter(None, (_state(job).value, failure)))


def _sound(database: sqlite3.Connection) -> Iterator[str]:
    for (word,) in database.execute("PRAGMA integrity_check"):
        if word != "ok":
            yield f"the database is damaged: {word}"
    for row in database.execute("PRAGMA foreign_key_check"):
        yield f"a row points nowhere: {tuple(row)}"
    counted = "SELECT id, queued, (SELECT count(*) FROM job WHERE lane_id = lane.id AND state = 0) AS real FROM lane"
    for lane in database.execute(counted):
        if lane["queued"] != lane["real"]:
            yield f"lane {lane['id']} says that {lane['queued']} jobs are queued; there are {lane['real']}"


def _accepted_are_final(evidence: _Evidence) -> Iterator[str]:
    for key, job_id in evidence.ground.keys.items():
        if job_id not in evidence.jobs:
            yield f"{key} was accepted as {job_id}, which is lost"
    for job_id, job in evidence.jobs.items():
        if not _state(job).final:
            yield f"{job_id} has not ended: {_state(job).value}, {job['stage']}"
    keys = Counter(job["idempotency_key"] for job in evidence.jobs.values() if job["idempotency_key"])
    files = Counter(job["claim_name"] for job in evidence.jobs.values() if job["claim_name"])
    for name, count in (keys + files).items():
        if count > 1:
            yield f"{name} became {count} jobs"
    for name in evidence.ground.dropped - set(files):
        yield f"the Inbox file {name} became no job"


def _rendered_once(evidence: _Evidence) -> Iterator[str]:
    for (job_id, attempt, port, _), count in evidence.renders_per_life().items():
        if count > 1:
            yield f"{job_id}, attempt {attempt}, was rendered {count} times on {port}, which lived"
    for job_id, count in evidence.renders().items():
        earlier = [row["outcome"] for row in evidence.attempts[job_id][:-1]]
        if count > 1 and not (set(earlier) & {"lost", "timed_out"}):
            yield f"{job_id} was rendered {count} times, and no attempt says why: {earlier}"
        if not set(earlier) <= REPEATABLE:
            yield f"{job_id} was tried again after {earlier}"
    rendered = evidence.renders()
    for job_id, job in evidence.jobs.items():
        if _state(job) is JobState.COMPLETED and not rendered[job_id]:
            yield f"{job_id} is completed, and nobody rendered it"


def _api_told_the_truth(evidence: _Evidence) -> Iterator[str]:
    for job_id, job in evidence.jobs.items():
        said = evidence.ground.answers.get(job_id)
        if said is None:
            yield f"the API did not list {job_id}"
            continue
        if said["status"] != _state(job).status or said["attention"] != bool(job["attention"]):
            yield f"the API said of {job_id}: {said['status']}; stored is {_end(job)}"
        shown = [(attempt["number"], attempt["outcome"]) for attempt in said["attempts"]]
        if shown != [(row["number"], row["outcome"]) for row in evidence.attempts[job_id]]:
            yield f"the API showed other attempts of {job_id}: {shown}"


def _history_is_monotone(evidence: _Evidence) -> Iterator[str]:
    for job_id, job in evidence.jobs.items():
        before: JobState | None = None
        attempt = 0
        for row in evidence.history[job_id]:
            state = STATES[row["state"]]
            if state is not before and not may_follow(before, state):
                yield f"{job_id} went from {before} to {state}"
            if before is not None and before.final:
                yield f"{job_id} went on after its end"
            if row["attempt"] < attempt:
                yield f"{job_id} went back from attempt {attempt} to {row['attempt']}"
            before, attempt = state, row["attempt"]
        if before is not _state(job):
            yield f"{job_id} is {_state(job)}, and its history ends with {before}"


def _delivered_as_rendered(evidence: _Evidence) -> Iterator[str]:
    made = evidence.hashes()
    folders: dict[str, list[Path]] = defaultdict(list)
    for folder in sorted(evidence.ground.outbox.iterdir()):
        try:
            result = json.loads((folder / "result.json").read_bytes())
        except (OSError, ValueError) as error:
            yield f"{folder.name} in Outbox has no whole result.json: {error}"
            continue
        folders[result["job_id"]].append(folder)
        yield from _faults_of_folder(folder, result, made[result["job_id"]])
    for job_id, job in evidence.jobs.items():
        if len(folders[job_id]) != 1:
            yield f"{job_id} ({_end(job)}) was delivered {len(folders[job_id])} times"
        if _state(job) is JobState.COMPLETED and not evidence.artifacts[job_id]:
            yield f"{job_id} is completed without a file"


def _faults_of_folder(folder: Path, result: dict[str, Any], made: set[str]) -> Iterator[str]:
    named = {output["name"]: output["sha256"] for output in result["outputs"]}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    there.pop("result.json")
    if there != named:
        yield f"{folder.name} holds {there}, and its result.json names {named}"
    for name, sha256 in there.items():
        if sha256 not in made:
            yield f"{folder.name}/{name} is not what a server made for this job"


def _files_in_one_place(evidence: _Evidence) -> Iterator[str]:
    inbox = evidence.ground.inbox
    lying = Counter(
        path.name
        for place in (inbox, inbox / "processed", inbox / "failed")
        for path in place.iterdir()
        if path.is_file() and not path.name.endswith(".error.json")
    )
    for name in evidence.ground.dropped:
        if lying[name] != 1:
            yield f"the Inbox file {name} lies in {lying[name]} places"
    for path in (inbox / ".orch").rglob("*"):
        if path.is_file():
            yield f"{path.name} was left in Inbox/.orch"


def _nothing_half_done(root: Path) -> Iterator[str]:
    for path in (root / "Outbox").iterdir():
        if path.name.startswith("."):
            yield f"a half-made folder was left in Outbox: {path.name}"
    for folder in ("data", "Inbox"):
        for path in (root / folder).rglob("*"):
            if path.suffix in (".part", ".tmp"):
                yield f"a half-made file was left: {path}"
