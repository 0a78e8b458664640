"""Batches from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_mcp.command.batches import read_variations
from orchestrator_mcp.command.ending import UsageError
from tests.cli.program import run, served


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with a running orchestrator, and its url."""
    folder = tmp_path_factory.mktemp("place")
    with served(folder) as (_, url):
        yield folder, url


def test_submit_prints_the_id_of_the_batch_and_status_shows_it(place: tuple[Path, str]) -> None:
    folder, url = place
    ended = run("submit", "model_free_card", "--vary", "width=64,96", "--vary", "height=[32]", folder=folder)
    assert ended.returncode == 0, ended.stderr
    batch_id = ended.stdout.strip()
    assert "2 jobs were accepted" in ended.stderr
    shown = run("status", batch_id, "--watch", folder=folder)
    assert shown.returncode == 0, shown.stderr
    assert "completed: 2 completed of 2" in shown.stdout
    assert "width, height (product)" in shown.stdout
    view = httpx.get(f"{url}/api/batch/{batch_id}", trust_env=False).json()
    assert view["path"] in shown.stdout
    again = run("retry", batch_id, folder=folder)
    assert (again.returncode, "None of the jobs" in again.stderr) == (1, True)


def test_submit_with_watch_follows_a_batch_to_its_end(place: tuple[Path, str]) -> None:
    folder, _ = place
    (folder / "batch.json").write_text(
        json.dumps({"workflow_id": "model_free_card", "batch": {"width": [32, 48], "height": [32, 48], "mode": "zip"}})
    )
    ended = run("submit", "batch.json", "--watch", "--json", folder=folder)
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert events[-1]["type"] == "end"
    assert events[-1]["batch"]["counts"]["completed"] == 2


def test_a_batch_is_cancelled_and_done_again(place: tuple[Path, str]) -> None:
    folder, _ = place
    long = ["submit", "my_workflow_001", "-p", "steps=2000", "--vary", 'seed={"count": 3, "base": 1}']
    batch_id = run(*long, folder=folder).stdout.strip()
    cancelled = run("cancel", batch_id, folder=folder)
    assert cancelled.returncode == 0, cancelled.stderr
    assert cancelled.stdout.startswith(f"{batch_id}: ")
    assert run("status", batch_id, "--watch", folder=folder).returncode == 1
    again = run("retry", batch_id, folder=folder)
    assert again.stdout.strip() == batch_id, again.stderr
    assert json.loads(run("cancel", batch_id, "--json", folder=folder).stdout)["batch_id"] == batch_id


def test_values_are_read_as_people_write_them() -> None:
    pairs = ["steps=20, 30", 'seed={"count": 2}', "prompt=dusk,dawn", "cfg=[1.5]", "mode=zip"]
    assert read_variations(pairs) == {
        "steps": [20, 30],
        "seed": {"count": 2},
        "prompt": ["dusk", "dawn"],
        "cfg": [1.5],
        "mode": "zip",
    }
    assert read_variations([]) is None


@pytest.mark.parametrize("pairs", [["steps"], ["=1"], ["steps="], ["steps=1", "steps=2"]])
def test_what_is_no_pair_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageError):
        read_variations(pairs)
