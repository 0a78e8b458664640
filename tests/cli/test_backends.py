"""`backends discover | add | remove`: the farm in config.yaml, changed by command."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator_mcp.command.discovering import addresses_of, discover, ports_of
from orchestrator_mcp.command.ending import UsageError
from tests.cli.program import CLI, run, served, started

FARM = """\
# our studio
backends:   # the farm
  # the big one
  - id: node1
    host: 127.0.0.1
    port: 1   # nobody is there
# where it listens
server: {port: 0}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(FARM, encoding="utf-8")
    return tmp_path


@pytest.fixture
def comfy_port(tmp_path: Path) -> Iterator[int]:
    """A ComfyUI of 127.0.0.1."""
    (tmp_path / "comfy").mkdir()
    with started(*CLI, "sandbox", "--ports", "0", folder=tmp_path / "comfy", stdout_too=True) as running:
        yield int(running.wait_for(r"http://127\.0\.0\.1:(\d+)")[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Something listens there and is no ComfyUI."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def backends_in(place: Path) -> list[dict[str, object]]:
    listed = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))["backends"]
    assert isinstance(listed, list)
    return listed


def test_what_answers_in_a_network_is_found_and_added_once(place: Path, comfy_port: int, silent_port: int) -> None:
    ports = ("--port", str(comfy_port), "--port", str(silent_port))
    ended = run("backends", "discover", "127.0.0.0/29", *ports, "--yes", "--json", folder=place)
    assert ended.returncode == 0, ended.stderr
    [found] = [one for one in json.loads(ended.stdout) if one["host"] == "127.0.0.1"]
    assert (found["port"], found["known_as"]) == (comfy_port, None)
    assert (place / "config.yaml").read_text(encoding="utf-8") == FARM
    for _ in range(2):
        ended = run("backends", "discover", "127.0.0.1", *ports, "--yes", "--add", folder=place)
        assert ended.returncode == 0, ended.stderr
        assert [one["id"] for one in backends_in(place)] == ["node1", f"comfy-127-0-0-1-{comfy_port}"]
    assert f"comfy-127-0-0-1-{comfy_port}" in ended.stdout, "the second time it stands in the configuration"
    assert "nothing was changed" in ended.stderr
    text = (place / "config.yaml").read_text(encoding="utf-8")
    assert [line for line in FARM.splitlines() if line not in text.splitlines()] == []


def test_nobody_knocks_without_being_told_to(place: Path, silent_port: int) -> None:
    ended = run("backends", "discover", "127.0.0.0/29", "--port", str(silent_port), folder=place, stdin="n\n")
    assert ended.returncode == 1
    assert "6 addresses of 127.0.0.0/29" in ended.stdout and "Nothing was sent." in ended.stderr


def test_an_empty_network_is_said_to_be_empty(place: Path, silent_port: int) -> None:
    ports = f"{silent_port},{silent_port}-{silent_port}"
    ended = run("backends", "discover", "127.0.0.1", "--port", ports, "-y", folder=place)
    assert (ended.returncode, "No ComfyUI answered" in ended.stdout) == (1, True)


@pytest.mark.parametrize("network", ["8.8.8.0/24", "10.0.0.0/8", "everywhere", "127.0.0.1/64", ""])
def test_public_large_and_senseless_networks_are_not_searched(network: str) -> None:
    with pytest.raises(UsageError):
        addresses_of(network)


def test_ports_are_named_one_by_one_as_a_range_or_with_commas() -> None:
    assert ports_of(["8190", "8188-8189", "8188, 9000"]) == [8188, 8189, 8190, 9000]


@pytest.mark.parametrize("port", ["", "0", "65536", "8191-8188", "8188-", "-1", "comfy", "8188;8189", "8188-8189-8190"])
def test_what_is_no_port_is_told_with_what_is_one(port: str) -> None:
    with pytest.raises(UsageError) as refused:
        ports_of([port])
    assert "8188-8191" in str(refused.value)


def test_every_port_of_a_whole_network_is_too_much_to_ask() -> None:
    with pytest.raises(UsageError, match="too many"):
        discover("192.168.1.0/24", ["1-65535"], None, add=False, agreed=True, as_json=True)


def test_a_network_is_every_address_that_a_machine_can_have() -> None:
    assert addresses_of("192.168.1.0/30") == ["192.168.1.1", "192.168.1.2"]
    assert addresses_of("192.168.1.7") == ["192.168.1.7"]


def test_a_running_orchestrator_takes_over_what_is_added_and_lets_go_what_is_removed(
    tmp_path: Path, comfy_port: int, until: Callable[[Callable[[], bool]], None]
) -> None:
    with served(tmp_path, config=FARM):
        named = ("--id", "node2", "--name", "Beast (5090)", "--capability", "flux", "--available", "Mon-Sun")
        ended = run("backends", "add", f"127.0.0.1:{comfy_port}", *named, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "node2" in ended.stderr and "config.yaml" in ended.stderr
        assert backends_in(tmp_path)[1] == {
            "id": "node2",
            "host": "127.0.0.1",
            "port": comfy_port,
            "name": "Beast (5090)",
            "capabilities": ["flux"],
            "available": "Mon-Sun",
        }
        until(lambda: "node2" in run("backends", folder=tmp_path).stdout)
        assert run("submit", "my_workflow_001", "--capability", "flux", "--watch", folder=tmp_path).returncode == 0
        shown = run("backends", "node2", folder=tmp_path)
        assert "Beast (5090)" in shown.stdout and "flux" in shown.stdout
        assert run("backends", "remove", "node1", folder=tmp_path).returncode == 0
        until(lambda: [one["id"] for one in json.loads(run("backends", "--json", folder=tmp_path).stdout)] == ["node2"])
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert "# the big one" not in text and "# our studio" in text and "# where it listens" in text
    assert (tmp_path / "config.yaml.bak").is_file()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    def wait(holds: Callable[[], bool]) -> None:
        """Ask until it holds; each question is a process of its own, so this is no busy loop."""
        assert any(holds() for _ in range(40))

    return wait


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "not an address"), "is no address"),
        (("add", "http://host:99999"), "is no address"),
        (("add", "user@host"), "is no address"),
        (("add", "host", "--id", "../x"), "id"),
        (("add", "host", "--id", "node1"), "stands in"),
        (("add", "host", "--id", "NODE1"), "id"),
        (("add", "127.0.0.1:1", "--id", "again"), "127.0.0.1:1 stands in"),
        (("add", "localhost:1", "--id", "again"), "localhost:1 stands in"),
        (("add", "host", "--available", "whenever"), "is no day"),
        (("remove", "node9"), "No backend 'node9'"),
    ],
)
def test_a_wrong_entry_changes_nothing(place: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = run("backends", *arguments, folder=place)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr and "Traceback" not in ended.stderr
    assert (place / "config.yaml").read_text(encoding="utf-8") == FARM
    assert [path.name for path in place.iterdir()] == ["config.yaml"]


def test_a_farm_begins_without_a_file(tmp_path: Path) -> None:
    ended = run("backends", "add", "[::1]:9000", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert backends_in(tmp_path) == [{"id": "comfy-1-9000", "host": "::1", "port": 9000}]


def test_a_backend_is_drained_and_resumed_by_command(tmp_path: Path) -> None:
    with served(tmp_path):
        [before] = json.loads(run("backends", "--json", folder=tmp_path).stdout)
        name = before["id"]
        ended = run("backends", "drain", name, "--note", "new RAM & dust", folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "draining" in ended.stdout and "new RAM & dust" in ended.stdout
        shown = json.loads(run("backends", name, "--json", folder=tmp_path).stdout)
        assert (shown["wish"]["kind"], shown["wish"]["note"]) == ("draining", "new RAM & dust")
        assert "it is drained" in run("backends", folder=tmp_path).stdout
        assert json.loads(run("backends", "resume", name, "--json", folder=tmp_path).stdout)["wish"] is None
        assert run("backends", "disable", name, folder=tmp_path).returncode == 0
        refused = run("backends", "resume", name, folder=tmp_path)
        assert (refused.returncode, refused.stdout) == (1, "") and "enable it" in refused.stderr
        assert run("backends", "enable", name, folder=tmp_path).returncode == 0
        assert run("backends", "unblock", name, folder=tmp_path).returncode == 0
        unknown = run("backends", "pause", name + "x", folder=tmp_path)
        assert unknown.returncode == 1 and f"Did you mean {name}" in unknown.stderr
