"""What is published: the bundle for a double click, the registry's entry, and the wheel with its command."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.cli.program import ROOT, environment
from tests.foreign import FOREIGN, node_of, without

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MCPB = FOREIGN / "node_modules/@anthropic-ai/mcpb/dist/cli/cli.js" if FOREIGN else Path("mcpb")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_mcpb", ROOT / "scripts" / "build_mcpb.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(script: ModuleType, tmp_path: Path) -> Path:
    """The bundle, unpacked as a host does it."""
    with zipfile.ZipFile(script.build(tmp_path / "dist")) as packed:
        packed.extractall(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_the_same_checkout_gives_the_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    first, second = (script.build(tmp_path / name) for name in "ab")
    assert first.name == f"orchestrator-mcp-{PROJECT['version']}.mcpb"
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_the_bundle_has_what_its_installation_needs_and_nothing_private(bundle: Path) -> None:
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    told = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert {told["server"]["entry_point"], PROJECT["readme"], "config.yaml", "pyproject.toml"} <= names
    assert {"orchestrator_mcp/app.py", "watcher/inbox.py", "workflows/my_workflow_001.json"} <= names
    odd = [name for name in names if re.search(r"(^|/)(\.|__pycache__|(tests|data|logs|Inbox|Outbox)/)", name)]
    assert odd == []
    used = set(re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(told)))
    assert used == set(told["user_config"])


async def test_the_bundle_serves_an_agent_from_the_folder_that_the_user_chose(bundle: Path, tmp_path: Path) -> None:
    farm = tmp_path / "studio" / "farm"
    started = StdioServerParameters(
        command=sys.executable,
        args=[str(bundle / "server.py")],
        env=environment(ORCHESTRATOR_FOLDER=str(farm), PYTHONPATH=str(bundle)),
        cwd=tmp_path,
    )
    with anyio.fail_after(60):
        async with Client(stdio_client(started)) as client:
            assert "submit_job" in [tool.name for tool in (await client.list_tools()).tools]
            assert not (await client.call_tool("list_backends", {})).is_error
    assert {"Inbox", "Outbox", "data"} <= {path.name for path in farm.iterdir()}
    assert not (tmp_path / "Inbox").exists()


@pytest.fixture
def uv() -> str:
    """uv, as hosts that install bundles bring it."""
    found = shutil.which("uv", path=str(FOREIGN / "venv/bin") if FOREIGN else None)
    if found is None:
        pytest.skip("uv is not in FOREIGN_CLIENTS")
    return found


@pytest.mark.clients
@pytest.mark.parametrize("way", ["bundle", "uvx"])
async def test_uv_installs_it_and_the_agent_is_served(way: str, uv: str, bundle: Path, tmp_path: Path) -> None:
    farm = tmp_path / "farm"
    farm.mkdir()
    (farm / "config.yaml").write_text("server: {port: 0}\n", encoding="utf-8")
    own = {"UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never", "PYTHONPATH": "", "VIRTUAL_ENV": ""}
    env = environment(ORCHESTRATOR_FOLDER=str(farm), **own)
    config = ["stdio", "--config", str(farm / "config.yaml")]
    if way == "bundle":
        told = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["server"]["mcp_config"]
        install = [uv, "sync", "--directory", str(bundle), "--no-dev"]
        start = [uv, *(part.replace("${__dirname}", str(bundle)) for part in told["args"])]
    else:
        install = [uv, "tool", "run", "--from", str(ROOT), "orchestrator-mcp", "--version"]
        start = [*install[:-1], *config]
    with anyio.fail_after(300):
        installed = await anyio.run_process(install, env=env, check=False, cwd=tmp_path)
    if b"Failed to fetch" in installed.stderr:
        pytest.skip("uv reaches no package index here")
    assert installed.returncode == 0, installed.stderr.decode()
    started = StdioServerParameters(command=start[0], args=start[1:], env=env, cwd=tmp_path)
    with anyio.fail_after(120):
        async with Client(stdio_client(started)) as client:
            assert "submit_job" in [tool.name for tool in (await client.list_tools()).tools]
            assert not (await client.call_tool("list_backends", {})).is_error
    assert {"Inbox", "Outbox", "data"} <= {path.name for path in farm.iterdir()}


@pytest.mark.clients
@pytest.mark.skipif(without(MCPB), reason="mcpb is not in FOREIGN_CLIENTS")
def test_the_makers_own_program_finds_the_manifest_valid(bundle: Path) -> None:
    assert FOREIGN is not None and (node := node_of(FOREIGN)) is not None
    command = [node, str(MCPB), "validate", str(bundle / "manifest.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_registry_is_told_what_is_published() -> None:
    entry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    (package,) = entry["packages"]
    assert entry["version"] == package["version"] == PROJECT["version"]
    assert package["identifier"] == PROJECT["name"] and package["registryType"] == "pypi"
    assert PROJECT["name"] in PROJECT["scripts"], "uvx runs the command that is called like the package"
    assert len(entry["description"]) <= 100 and re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- mcp-name: {entry['name']} -->" in readme, "the registry looks for this line in the package"


@pytest.mark.slow
def test_the_wheel_brings_the_command_and_its_files(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w"]
    built = subprocess.run(
        [*pip, str(tmp_path), str(ROOT)], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    if "hatchling" in built.stderr and "No module" in built.stderr:
        pytest.skip("hatchling is not installed here")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "fresh"
    venv.create(place, with_pip=False, symlinks=True)
    packages = next(place.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(packages)
        (declared,) = [name for name in packed.namelist() if name.endswith(".dist-info/entry_points.txt")]
        assert "orchestrator-mcp = orchestrator_mcp.cli:main" in packed.read(declared).decode()
    (packages / "borrowed.pth").write_text(str(Path(anyio.__file__).parents[1]), encoding="utf-8")
    call = "import sys; sys.argv = ['orchestrator-mcp', *sys.argv[1:]]; from orchestrator_mcp.cli import main; main()"
    for arguments, expected in ((["--version"], PROJECT["version"]), (["mcp-config", "codex"], str(place))):
        (tmp_path / "config.yaml").touch()
        ended = subprocess.run(
            [str(place / "bin/python"), "-P", "-c", call, *arguments],
            env=environment(PYTHONPATH=""),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0 and expected in ended.stdout, ended.stdout + ended.stderr
    assert (packages / "orchestrator_mcp/_shipped/workflows/my_workflow_001.json").is_file()
