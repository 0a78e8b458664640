"""Programs in which agents live, without a login: they take what `mcp-config` writes, connect, and show the model all.

Nothing but loopback is reached: every proxy leads nowhere, and what they would tell their makers is turned off.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.program import environment, run, served
from tests.clients.scripted_model import Block, scripted_model
from tests.foreign import FOREIGN, node_of

SECONDS = 120
BIN = FOREIGN / "node_modules/.bin" if FOREIGN else Path("bin")
NOWHERE = "http://127.0.0.1:9"

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
    """An environment without the network, with a home of its own."""
    assert FOREIGN is not None
    node = node_of(FOREIGN)
    path = f"{Path(node).parent if node else BIN}:{environment().get('PATH', '')}"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    silent = {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_TELEMETRY_ENABLED": "false",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "PATH": path}
    return environment(**proxies, **silent, **own, **more)


@pytest.mark.parametrize(
    ("client", "name", "transport"),
    [
        ("claude-code", "claude", "stdio"),
        ("claude-code", "claude", "http"),
        ("gemini", "gemini", "http"),  # a server that it starts itself has five seconds, too few on a busy machine
    ],
)
def test_a_host_connects_with_what_was_written_for_it(
    client: str, name: str, transport: str, farm: Path, home: Path
) -> None:
    host = program(name)
    with served(farm):
        written = run(
            *("mcp-config", client, "--write", "--transport", transport), folder=farm, env={"HOME": str(home)}
        )
        assert written.returncode == 0, written.stderr
        ended = subprocess.run(
            [host, "mcp", "list"],
            cwd=home,
            env=quiet(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    said = ended.stdout + ended.stderr
    assert re.search("render-farm: .*Connected", said), said


def call(name: str, **arguments: Any) -> Block:
    return {"type": "tool_use", "name": name, "input": arguments}


def text_of(result: Block) -> str:
    content = result["content"]
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def look_at_a_picture(results: dict[str, Block]) -> Block:
    """What a model does that was asked for a picture: it submits, waits, looks, and ends."""
    if "submit_job" not in results:
        return call("submit_job", workflow_id="my_workflow_001", parameters={"steps": 3, "seed": 7})
    job_id = json.loads(text_of(results["submit_job"]))["job_id"]
    if "job_status" not in results:
        return call("job_status", job_id=job_id, wait_seconds=45)
    if "get_preview" not in results:
        return call("get_preview", job_id=job_id)
    return {"type": "text", "text": "I have looked at it."}


def test_in_claude_code_the_model_receives_all_of_a_job_and_the_picture_itself(farm: Path, home: Path) -> None:
    host = program("claude")
    with served(farm), scripted_model(look_at_a_picture, prefix="mcp__render-farm__") as model:
        command = ("mcp-config", "claude-code", "--write", "--transport", "http")
        assert run(*command, folder=farm, env={"HOME": str(home)}).returncode == 0
        ended = subprocess.run(
            [host, "-p", "Make me a picture.", "--output-format", "json", "--allowedTools", "mcp__render-farm"],
            cwd=home,
            env=quiet(home, ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY="none", ENABLE_TOOL_SEARCH="false"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(ended.stdout)["result"] == "I have looked at it."
    assert {name.removeprefix(model.prefix) for name in model.tools} >= {
        *("submit_job", "job_status", "list_backends", "cancel_job", "list_workflows", "get_preview", "list_jobs"),
    }
    assert "ComfyUI" in model.tools[f"{model.prefix}submit_job"]["description"]
    status = json.loads(text_of(model.results["job_status"]))
    assert (status["status"], status["sandbox"]) == ("completed", True)
    (output,) = status["outputs"]
    assert output["url"].startswith("http://127.0.0.1:") and output["path"] and output["size"] > 0
    assert "get_preview" in status["next_step"]
    preview = model.results["get_preview"]["content"]
    assert [block["type"] for block in preview[:2]] == ["text", "image"]
    picture = Image.open(io.BytesIO(base64.b64decode(preview[1]["source"]["data"])))
    picture.load()
    assert max(picture.size) >= 256
