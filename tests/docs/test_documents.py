"""README.md and docs/: every command is run, every block is read, every link leads somewhere."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from orchestrator_mcp.settings import Settings, load_settings
from orchestrator_mcp.workflows.declaration_file import read_declarations
from orchestrator_mcp.workflows.graph import check_graph
from tests.cli.program import ROOT, SECONDS, environment, run, served, started
from tests.docs.blocks import DOCUMENTS, SHELL, Block, blocks_in, blocks_of

RUN = [ROOT / "README.md", ROOT / "docs" / "api.md"]
ADDRESS = "http://127.0.0.1:9800"
SERVES = ("orchestrator-mcp serve", "python -m orchestrator_mcp.server")
EXAMPLE_JOB = "019ab0c4-8e6f-7a31-9c1d-5f0e2b7a6c42"
EXAMPLE_FOLDER = "/path/to"
EVERY_ADDRESS = "0.0.0.0"
CONFIG_KEYS = {field.validation_alias or name for name, field in Settings.model_fields.items()}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the commands that an installation puts into the search path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, command in (("orchestrator-mcp", "-m orchestrator_mcp.cli"), ("python", "")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {command} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    (folder / ".curlrc").write_text(
        "fail-with-body\nsilent\nshow-error\nnoproxy = *\nmax-time = 30\n", encoding="utf-8"
    )
    return folder


def commands_of(block: Block) -> str:
    """What a block says, without what .ci/run does: making an environment and installing into it."""
    kept = [line for line in block.text.splitlines() if not line.lstrip().startswith("#")]
    made = r"^python3 -m venv .*$|^pip install [^&\n]*(?:&& )?"
    return re.sub(made, "", "\n".join(kept), flags=re.MULTILINE).strip()


def prepare(place: Path) -> str:
    """Put there what the documents take for the reader's own: a graph, pictures, a job; the job's id."""
    (place / "my_graph.json").write_bytes((ROOT / "workflows" / "my_workflow_001.json").read_bytes())
    ended = run("submit", "my_workflow_001", "--watch", "--json", folder=place)
    assert ended.returncode == 0, ended.stderr
    job = json.loads(ended.stdout.splitlines()[-1])["job"]
    for name in ("face.png", "render.png"):
        shutil.copy(job["outputs"][0]["path"], place / name)
    return str(job["job_id"])


def run_until_ready(command: str, folder: Path) -> None:
    """Start a server as a document says, but on a free port of this machine alone, and end it when it is ready."""
    words = shlex.split(command.replace(EVERY_ADDRESS, "127.0.0.1"))
    program = (sys.executable, "-m", "orchestrator_mcp.cli") if words[0] == "orchestrator-mcp" else (sys.executable,)
    folder.mkdir()
    with started(*program, *words[1:], "--port", "0", folder=folder) as server:
        server.wait_for("Orchestrator .* is ready")
        assert server.stop() == 0, command


def run_to_its_end(command: str, folder: Path, programs: Path) -> None:
    path = f"{programs}:{environment().get('PATH', '')}"
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment(PATH=path, CURL_HOME=str(programs)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="the documents speak bash and curl")
@pytest.mark.parametrize("document", RUN, ids=lambda path: path.name)
def test_every_command_of_a_document_does_what_it_says(document: Path, tmp_path: Path, programs: Path) -> None:
    place, studio = tmp_path / "place", tmp_path / "studio"
    place.mkdir()
    studio.mkdir()
    shutil.copy(ROOT / "config.yaml", studio)
    shell = [block for block in blocks_of(document) if block.language in SHELL and block.is_run]
    assert shell
    with served(place) as (_, url):
        job_id = prepare(place)
        for number, block in enumerate(shell):
            command = commands_of(block).replace(ADDRESS, url).replace(EXAMPLE_JOB, job_id)
            command = command.replace(EXAMPLE_FOLDER, str(studio))
            if command.startswith(SERVES):
                run_until_ready(command, tmp_path / str(number))
            elif command:
                run_to_its_end(command, place, programs)


@pytest.mark.parametrize("block", blocks_in("json"), ids=str)
def test_every_json_block_is_json(block: Block) -> None:
    json.loads(block.text)


YAML = blocks_in("yaml", "yml")
CONFIGURATIONS = [block for block in YAML if "<!-- beside:" not in block.remark]


@pytest.mark.parametrize("block", [block for block in YAML if block not in CONFIGURATIONS], ids=str)
def test_every_description_of_a_workflow_fits_its_graph(block: Block, tmp_path: Path) -> None:
    workflow_id = block.remark.removeprefix("<!-- beside: ").removesuffix(" -->\n")
    graph = check_graph(json.loads((ROOT / "workflows" / f"{workflow_id}.json").read_text(encoding="utf-8")))
    file = tmp_path / f"{workflow_id}.yaml"
    file.write_text(block.text, encoding="utf-8")
    assert read_declarations(file, graph, called=file.name).parameters


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_every_yaml_block_is_a_configuration_that_loads(block: Block, tmp_path: Path) -> None:
    found = yaml.safe_load(block.text)
    assert found.keys() <= CONFIG_KEYS | {"database_path"}
    file = tmp_path / "config.yaml"
    file.write_text(block.text, encoding="utf-8")
    load_settings(file, environ={})


def test_every_toml_block_is_toml() -> None:
    for block in blocks_in("toml"):
        tomllib.loads(block.text)


@pytest.mark.parametrize("block", blocks_in("python"), ids=str)
def test_every_python_block_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_fence_is_closed_and_says_its_language(document: Path) -> None:
    fences = [line for line in document.read_text(encoding="utf-8").splitlines() if line.startswith("```")]
    found = blocks_of(document)
    assert len(fences) == 2 * len(found)
    for block in found:
        assert block.language or re.search(r"[│┌└]", block.text), f"{block} names no language"


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        page = document.parent / path if path else document
        assert page.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in anchors_of(page), f"{document.name} links to {target}"


def anchors_of(page: Path) -> set[str]:
    """The names that a page's headings have in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.casefold()).replace(" ", "-") for heading in headings}


def test_the_two_commands_stand_first() -> None:
    first, second = (block.text.strip() for block in blocks_of(ROOT / "README.md")[:2])
    assert (first, second) == ("pip install . && orchestrator-mcp demo", "pip install '.[test]' && pytest")


def test_the_only_command_that_is_not_run_is_the_one_that_runs_the_tests() -> None:
    skipped = [block.text.strip() for block in blocks_in(*SHELL) if block.document in RUN and not block.is_run]
    assert skipped == ["pip install '.[test]' && pytest"]


@pytest.mark.parametrize("document", RUN, ids=lambda path: path.name)
def test_no_command_hides_in_a_block_of_another_language(document: Path) -> None:
    others = [block for block in blocks_of(document) if block.language not in SHELL]
    hidden = [str(block) for block in others if re.search(r"^(curl|pip|python|orchestrator-mcp) ", block.text, re.M)]
    assert not hidden
