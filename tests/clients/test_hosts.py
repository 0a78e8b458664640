"""Programs in which agents live, without a login: they take what `mcp-config` writes, connect, and show the model all.

Nothing but loopback is reached: every proxy leads nowhere, and what they would tell their makers is turned off.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from tests.cli.program import ROOT, run, served
from tests.clients.scripted_model import Call, Given, Model, scripted_model
from tests.foreign import FOREIGN, node_of

SECONDS: Final = 120
BIN = FOREIGN / "node_modules/.bin" if FOREIGN else Path("bin")
NOWHERE: Final = "http://127.0.0.1:9"
TOKEN: Final = "s3cret-token_0123456789-0123456789"
TOOLS: Final = {"submit_job", "job_status", "list_backends", "cancel_job", "list_workflows", "get_preview", "list_jobs"}
SILENT: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    "GEMINI_TELEMETRY_ENABLED": "false",
    "OPENCODE_DISABLE_AUTOUPDATE": "true",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "true",
    "OPENCODE_DISABLE_MODELS_FETCH": "true",
    "OPENCODE_DISABLE_SHARE": "true",
}

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("clients")]


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    folder = tmp_path / "farm"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def program(name: str) -> str:
    """A host that starts here; skips the test when there is none."""
    found = shutil.which(name, path=str(BIN))
    if FOREIGN is None or found is None or node_of(FOREIGN) is None:
        pytest.skip(f"{name} is not in FOREIGN_CLIENTS")
    asked = subprocess.run([found, "--version"], env=quiet(Path("/")), capture_output=True, timeout=60, check=False)
    if asked.returncode != 0:
        pytest.skip(f"{name} does not start here")
    return found


def quiet(home: Path, **more: str) -> dict[str, str]:
    """An environment without the network, with a home of its own, and with nothing else of the developer's own."""
    assert FOREIGN is not None
    node = node_of(FOREIGN)
    path = f"{Path(node).parent if node else BIN}:{os.environ.get('PATH', os.defpath)}"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "PATH": path, "PYTHONPATH": str(ROOT)}
    return {**proxies, "NO_PROXY": "127.0.0.1,localhost", "TERM": "dumb", **SILENT, **own, **more}


def ask(*command: str, home: Path, **more: str) -> str:
    """Run a host to its end, and give all that it said."""
    ended = subprocess.run(
        command,
        cwd=home,
        env=quiet(home, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def tell(client: str, transport: str, *, farm: Path, home: Path) -> None:
    """Write the farm into a host's settings."""
    command = ("mcp-config", client, "--write", "--transport", transport)
    written = run(*command, folder=farm, env={"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")})
    assert written.returncode == 0, written.stderr


@pytest.mark.parametrize(
    ("client", "name", "transport"),
    [
        ("claude-code", "claude", "stdio"),
        ("claude-code", "claude", "http"),
        ("gemini", "gemini", "stdio"),
        ("gemini", "gemini", "http"),
        ("opencode", "opencode", "stdio"),
        ("opencode", "opencode", "http"),
    ],
)
def test_a_host_connects_with_what_was_written_for_it(
    client: str, name: str, transport: str, farm: Path, home: Path
) -> None:
    host = program(name)
    with served(farm):
        tell(client, transport, farm=farm, home=home)
        said = re.sub(r"\x1b\[[0-9;]*m", "", ask(host, "mcp", "list", home=home))
    assert re.search(r"render-farm:? .*connected", said, re.IGNORECASE), said


@pytest.mark.parametrize(
    ("client", "name"), [("claude-code", "claude"), ("gemini", "gemini"), ("opencode", "opencode")]
)
def test_a_host_shows_the_token_that_its_environment_has(client: str, name: str, farm: Path, home: Path) -> None:
    host = program(name)
    tokens = farm / "tokens.yaml"
    tokens.write_text(f"tokens: [{{name: agent, token: {TOKEN}, scopes: [submit]}}]\n", encoding="utf-8")
    tokens.chmod(0o600)
    with served(farm, config="server: {port: 0, tokens_file: ./tokens.yaml}\n"):
        tell(client, "http", farm=farm, home=home)
        with_it, without = (
            re.sub(r"\x1b\[[0-9;]*m", "", ask(host, "mcp", "list", home=home, ORCHESTRATOR_TOKEN=token))
            for token in (TOKEN, "another-token_9876543210-9876543210")
        )
    assert re.search(r"render-farm:? .*\bconnected", with_it, re.IGNORECASE), with_it
    assert not re.search(r"render-farm:? .*\bconnected", without, re.IGNORECASE), without


def look_at_a_picture(results: dict[str, Given]) -> Call | str:
    """What a model does that was asked for a picture: it submits, waits, looks, and ends."""
    if "submit_job" not in results:
        return Call("submit_job", {"workflow_id": "my_workflow_001", "parameters": {"steps": 3, "seed": 7}})
    job_id = structure_in(results["submit_job"])["job_id"]
    if "job_status" not in results:
        return Call("job_status", {"job_id": job_id, "wait_seconds": 45})
    if "get_preview" not in results:
        return Call("get_preview", {"job_id": job_id})
    return "I have looked at it."


def structure_in(given: Given) -> dict[str, Any]:
    """The JSON object in what a tool gave; some hosts write a line of their own before it."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(given.text[given.text.index("{") :])[0]
    return found


def check_what_reached(model: Model) -> None:
    """All of a job, and the picture itself."""
    assert set(model.tools) >= TOOLS
    assert "ComfyUI" in model.tools["submit_job"]["description"]
    status = structure_in(model.results["job_status"])
    assert (status["status"], status["sandbox"]) == ("completed", True)
    (output,) = status["outputs"]
    assert output["url"].startswith("http://127.0.0.1:") and output["path"] and output["size"] > 0
    assert "get_preview" in status["next_step"]
    preview = model.results["get_preview"]
    assert output["name"] in preview.text
    picture = Image.open(io.BytesIO(preview.pictures[0]))
    picture.load()
    assert max(picture.size) >= 256


def test_in_claude_code_the_model_receives_all_of_a_job_and_the_picture_itself(farm: Path, home: Path) -> None:
    host = program("claude")
    with served(farm), scripted_model(look_at_a_picture, prefix="mcp__render-farm__") as model:
        tell("claude-code", "http", farm=farm, home=home)
        wish = ("-p", "Make me a picture.", "--output-format", "json", "--allowedTools", "mcp__render-farm")
        own = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "none", "ENABLE_TOOL_SEARCH": "false"}
        said = ask(host, *wish, home=home, **own)
    assert "I have looked at it." in said
    check_what_reached(model)


def test_in_codex_the_model_receives_all_of_a_job_and_the_picture_itself(farm: Path, home: Path) -> None:
    host = program("codex")
    with served(farm), scripted_model(look_at_a_picture, prefix="mcp__render_farm") as model:
        settings = home / ".codex" / "config.toml"
        settings.parent.mkdir()
        settings.write_text(
            'model = "scripted"\nmodel_provider = "scripted"\napproval_policy = "never"\n'
            'sandbox_mode = "danger-full-access"\ncheck_for_update_on_startup = false\nweb_search = "disabled"\n'
            "[analytics]\nenabled = false\n"
            f'[model_providers.scripted]\nname = "scripted"\nbase_url = "{model.url}/v1"\nwire_api = "responses"\n',
            encoding="utf-8",
        )
        tell("codex", "http", farm=farm, home=home)
        assert "render-farm" in ask(host, "mcp", "list", home=home)
        said = ask(host, "exec", "--skip-git-repo-check", "Make me a picture.", home=home)
    assert "I have looked at it." in said
    check_what_reached(model)


def test_in_opencode_the_model_receives_all_of_a_job_and_the_picture_itself(farm: Path, home: Path) -> None:
    host = program("opencode")
    with served(farm), scripted_model(look_at_a_picture, prefix="render-farm_") as model:
        settings = home / ".config" / "opencode" / "opencode.json"
        settings.parent.mkdir(parents=True)
        options = {"baseURL": f"{model.url}/v1", "apiKey": "none"}
        models = {"scripted": {"tool_call": True, "attachment": True, "modalities": {"input": ["text", "image"]}}}
        provider = {"npm": "@ai-sdk/anthropic", "options": options, "models": models}
        own = {"autoupdate": False, "share": "disabled", "provider": {"scripted": provider}}
        settings.write_text(json.dumps(own), encoding="utf-8")
        tell("opencode", "http", farm=farm, home=home)
        said = ask(host, "run", "--model", "scripted/scripted", "Make me a picture.", home=home)
    assert "I have looked at it." in said
    check_what_reached(model)


def test_in_gemini_the_model_receives_all_of_a_job_and_the_picture_itself(farm: Path, home: Path) -> None:
    host = program("gemini")
    with served(farm), scripted_model(look_at_a_picture, prefix="mcp_render-farm_") as model:
        settings = home / ".gemini" / "settings.json"
        settings.parent.mkdir()
        own = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}}
        settings.write_text(json.dumps(own), encoding="utf-8")
        tell("gemini", "http", farm=farm, home=home)
        wish = ("--model", "scripted", "--approval-mode", "yolo", "--prompt", "Make me a picture.")
        said = ask(host, *wish, home=home, GEMINI_API_KEY="none", GOOGLE_GEMINI_BASE_URL=model.url)
    assert "I have looked at it." in said
    check_what_reached(model)
