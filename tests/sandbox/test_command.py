"""The command serves a range of ports and goes when it is told to."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.sandbox.command import parse_ports, run
from tests.partners import picture_graph

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_each_port_is_ready_and_ends_with_0_on_a_signal(tmp_path: Path, number: int) -> None:
    oracle = tmp_path / "oracle.jsonl"
    call = f"run('0', 1.0, 0.0, ['checkpoints/a.safetensors'], ['prompt-500'], Path({str(oracle)!r}))"
    code = f"from pathlib import Path\nfrom orchestrator_mcp.sandbox.command import run\n{call}"
    command = [sys.executable, "-W", "error", "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            assert line.startswith("sandbox ready on http://127.0.0.1:")
            url = line.split()[-1]
            with httpx.Client(base_url=url, trust_env=False) as client:
                assert client.get("/models/checkpoints").json() == ["a.safetensors"]
                assert client.post("/prompt", json={"prompt": picture_graph()}).status_code == 500
            program.send_signal(number)
            assert program.wait(timeout=10) == 0
            assert program.stderr is not None
            assert program.stderr.read() == ""
        finally:
            program.kill()
    assert json.loads(oracle.read_text().splitlines()[0])["event"] == "accepted"


def test_a_range_of_ports_is_read() -> None:
    assert parse_ports("8188") == [8188]
    assert parse_ports("8188-8190") == [8188, 8189, 8190]


@pytest.mark.parametrize("text", ["", "a", "9-8", "0-3", "1-70000", "-5", "1-2-3", "1-60000"])
def test_a_wrong_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_ports(text)


def test_a_wrong_argument_or_a_taken_port_is_told_in_a_sentence() -> None:
    with pytest.raises(StartError, match="did you mean 'freeze'"):
        run("0", faults=["freez"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=str(port)):
            run(str(port))
