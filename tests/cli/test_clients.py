from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.program import CLI, run, served, started
from tests.partners import picture_graph

LONG = "steps=9000"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with a running orchestrator, and its url."""
    folder = tmp_path_factory.mktemp("place")
    with served(folder) as (_, url):
        yield folder, url


@pytest.fixture
def folder(place: tuple[Path, str]) -> Path:
    return place[0]


@pytest.fixture
def url(place: tuple[Path, str]) -> str:
    return place[1]


def test_submit_prints_the_id_and_nothing_else(folder: Path, url: str) -> None:
    ended = run("submit", "model_free_card", "-p", "width=64", folder=folder)
    assert ended.returncode == 0, ended.stderr
    job_id = ended.stdout.strip()
    assert httpx.get(f"{url}/api/job/{job_id}", trust_env=False).json()["parameters"] == {"width": 64}


def test_submit_and_watch_shows_the_way_and_where_the_pictures_lie(folder: Path) -> None:
    ended = run("submit", "my_workflow_001", "-p", "steps=8", "-m", "shot=12", "--watch", folder=folder)
    assert ended.returncode == 0, ended.stderr
    for expected in ("rendering on sandbox", "completed, 1 file", "shot = 12", "my_workflow_001_9_01.png"):
        assert expected in ended.stdout
    picture = next(word for word in ended.stdout.split() if word.endswith(".png"))
    assert Path(picture).is_file() and folder / "Outbox" in Path(picture).parents


def test_every_option_of_submit_reaches_the_job(folder: Path, url: str) -> None:
    options = ["--priority", "7", "--backend", "sandbox", "--idempotency-key", "key-1", "-m", 'tags=["a"]']
    first = run("submit", "my_workflow_001", "-p", "steps=1", *options, folder=folder).stdout.strip()
    again = run("submit", "my_workflow_001", "-p", "steps=1", *options, folder=folder).stdout.strip()
    assert first == again
    job = httpx.get(f"{url}/api/job/{first}", trust_env=False).json()
    assert (job["priority"], job["metadata"], job["parameters"]) == (7, {"tags": ["a"]}, {"steps": 1})


def test_a_dry_run_names_the_backends_and_queues_nothing(folder: Path, url: str) -> None:
    before = httpx.get(f"{url}/api/jobs", trust_env=False).json()["jobs"]
    shown = run("submit", "my_workflow_001", "-p", "steps=3", "--dry-run", folder=folder)
    assert shown.returncode == 0, shown.stderr
    assert "sandbox" in shown.stdout and "yes" in shown.stdout
    assert "Nothing was queued" in shown.stderr
    told = json.loads(run("submit", "my_workflow_001", "-p", "steps=3", "--dry-run", "--json", folder=folder).stdout)
    assert told["dry_run"] is True
    assert 3 in [node["inputs"].get("steps") for node in told["graph"].values()]
    refused = run("submit", "my_workflow_001", "-p", "load_checkpoint=sd15-x.safetensors", "--dry-run", folder=folder)
    assert refused.returncode == 1
    assert "sd15.safetensors" in refused.stderr
    assert httpx.get(f"{url}/api/jobs", trust_env=False).json()["jobs"] == before


def test_a_capability_that_no_backend_has_is_shown_as_the_reason_to_wait(folder: Path) -> None:
    job_id = run("submit", "model_free_card", "--capability", "flux", folder=folder).stdout.strip()
    shown = run("status", job_id, folder=folder)
    assert shown.returncode == 0
    assert "queued" in shown.stdout and "flux" in shown.stdout
    assert run("cancel", job_id, folder=folder).returncode == 0


def test_a_graph_in_a_file_is_submitted_under_the_name_of_the_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "night train.json"
    file.write_text(json.dumps(picture_graph()), encoding="utf-8")
    ended = run("submit", str(file), "--watch", folder=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "night train" in ended.stdout


def test_a_manifest_comes_through_standard_input_with_changes_on_top(folder: Path, url: str) -> None:
    manifest = {"workflow_id": "my_workflow_001", "parameters": {"steps": 1, "seed": 5}}
    ended = run("submit", "-", "-p", "seed=6", folder=folder, stdin=json.dumps(manifest))
    assert ended.returncode == 0, ended.stderr
    job = httpx.get(f"{url}/api/job/{ended.stdout.strip()}", trust_env=False).json()
    assert job["parameters"] == {"steps": 1, "seed": 6}


def test_a_file_as_the_browser_saves_it_is_refused_when_nothing_is_in_it(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "ui.json"
    file.write_text(json.dumps({"nodes": [], "links": [], "version": 0.4}), encoding="utf-8")
    ended = run("submit", str(file), folder=folder)
    assert ended.returncode == 1
    assert "no node that a backend could run" in ended.stderr


def test_watching_as_json_gives_every_event_and_last_the_whole_job(folder: Path) -> None:
    ended = run("submit", "my_workflow_001", "-p", "steps=24", "--watch", "--json", folder=folder)
    events: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert events[-1]["type"] == "end" and events[-1]["job"]["status"] == "completed"
    assert {"job", "progress"} <= {event["type"] for event in events}


def test_cancelling_a_running_job_ends_it_and_the_exit_codes_say_so(folder: Path) -> None:
    job_id = run("submit", "my_workflow_001", "-p", LONG, folder=folder).stdout.strip()
    cancelled = run("cancel", job_id, folder=folder)
    assert cancelled.returncode == 0, cancelled.stderr
    watched = run("status", job_id, "--watch", folder=folder)
    assert watched.returncode == 1
    assert "cancelled" in watched.stdout
    assert run("status", job_id, folder=folder).returncode == 1


def test_ctrl_c_while_watching_leaves_the_job_alone_and_says_so(folder: Path, url: str) -> None:
    job_id = run("submit", "my_workflow_001", "-p", LONG, folder=folder).stdout.strip()
    with started(*CLI, "status", job_id, "--watch", folder=folder, stdout_too=True) as watching:
        watching.wait_for("rendering on sandbox")
        assert watching.stop(signal.SIGINT) == 130
        watching.wait_for(f"orchestrator-mcp status {job_id} --watch")
    assert httpx.get(f"{url}/api/job/{job_id}", trust_env=False).json()["status"] == "running"
    assert run("cancel", job_id, folder=folder).returncode == 0


def test_a_finished_job_cannot_be_cancelled_and_the_others_still_are(folder: Path) -> None:
    done = run("submit", "model_free_card", "--watch", "--json", folder=folder).stdout.splitlines()[-1]
    waiting = run("submit", "model_free_card", "--capability", "none", folder=folder).stdout.strip()
    ended = run("cancel", json.loads(done)["job_id"], waiting, folder=folder)
    assert ended.returncode == 1
    assert f"{waiting}: cancelled" in ended.stdout
    assert "Error:" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (["backends"], "/api/backends"),
        (["workflows"], "/api/workflows"),
        (["workflows", "my_workflow_001"], "/api/workflows/my_workflow_001"),
        (["status", "--limit", "1", "--state", "failed"], "/api/jobs?limit=1&status=failed"),
    ],
)
def test_json_is_the_answer_of_the_api_unchanged(folder: Path, url: str, command: list[str], path: str) -> None:
    ended = run(*command, "--json", folder=folder)
    answer = httpx.get(f"{url}{path}", trust_env=False).json()
    said = json.loads(ended.stdout)
    for backend in [*said, *answer] if path == "/api/backends" else []:
        assert backend.pop("last_seen")
    assert (ended.returncode, said) == (0, answer)


def test_tables_name_what_there_is(folder: Path) -> None:
    assert "Built-in sandbox" in run("backends", folder=folder).stdout
    listed = run("workflows", folder=folder).stdout
    assert "my_workflow_001" in listed and "negative_prompt" in listed
    assert "6.text" in run("workflows", "my_workflow_001", folder=folder).stdout
    job_id = run("submit", "model_free_card", folder=folder).stdout.strip()
    assert job_id in run("status", "-n", "500", folder=folder).stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_standard_output_has_no_letters_for_is_spelled_out(folder: Path, encoding: str) -> None:
    strange = {"PYTHONIOENCODING": encoding}
    prompt = "\u65e5\u672c \u00fc \U0001f3ac"
    ended = run(
        "submit", "my_workflow_001", "-p", f"prompt={prompt}", "-p", "steps=1", "--watch", folder=folder, env=strange
    )
    assert ended.returncode == 0, ended.stderr
    assert r"prompt = \u65e5\u672c" in ended.stdout
    job_id = ended.stdout.split("Job ")[1].split()[0]
    said = run("status", job_id, "--json", folder=folder, env=strange).stdout
    assert json.loads(said)["parameters"]["prompt"] == prompt
    for command in (["workflows", "my_workflow_001"], ["status"], ["doctor"], ["workflows", "--json"]):
        assert "Traceback" not in run(*command, folder=folder, env=strange).stderr


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["submit", "my_workflow_01"], "my_workflow_001"),
        (["submit", "my_workflow_001", "-p", "stepz=1"], "steps"),
        (["workflows", "my_workflow_01"], "my_workflow_001"),
        (["status", "0"], "There is no job '0'"),
        (["cancel", "../jobs"], "There is nothing at"),
    ],
)
def test_a_refusal_is_a_sentence_with_the_way_out(folder: Path, command: list[str], expected: str) -> None:
    ended = run(*command, folder=folder)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: ") and expected in ended.stderr
    assert "Traceback" not in ended.stderr and ended.stdout == ""


def test_a_refusal_reaches_programs_as_json(folder: Path) -> None:
    ended = run("submit", "my_workflow_001", "-p", "stepz=1", "--json", folder=folder)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["detail"][0]["loc"] == ["body", "parameters", "stepz"]


def test_a_url_names_the_server_from_anywhere(url: str, tmp_path: Path) -> None:
    assert "sandbox" in run("backends", "--url", url, folder=tmp_path).stdout
    assert "sandbox" in run("backends", folder=tmp_path, env={"ORCHESTRATOR_URL": url.removeprefix("http://")}).stdout


def test_a_server_that_is_not_there_is_told_with_the_way_to_start_it(tmp_path: Path) -> None:
    ended = run("status", "--url", "http://127.0.0.1:1", folder=tmp_path)
    assert ended.returncode == 3
    assert "http://127.0.0.1:1" in ended.stderr and "orchestrator-mcp serve" in ended.stderr


def test_a_proxy_in_the_environment_is_not_asked_for_the_server(url: str, tmp_path: Path) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:1")
    assert run("backends", "--url", url, folder=tmp_path, env=proxies).returncode == 0


@pytest.mark.parametrize("address", ["ftp://127.0.0.1", "http://", "http://[", "::"])
def test_a_url_that_is_none_is_wrong_usage(address: str, tmp_path: Path) -> None:
    ended = run("status", "--url", address, folder=tmp_path)
    assert ended.returncode == 2
    assert "--url" in ended.stderr and "Traceback" not in ended.stderr


def test_what_steers_a_terminal_is_spelled_out(folder: Path) -> None:
    options = ("-m", "note=\x1b[31mred[bold]\nnext")
    job_id = run("submit", "model_free_card", *options, folder=folder).stdout.strip()
    shown = run("status", job_id, folder=folder).stdout
    assert "\x1b" not in shown
    assert "\\x1b[31mred[bold]" in shown
