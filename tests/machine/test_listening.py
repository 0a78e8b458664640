"""The port: free, taken, not to be had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.machine.listening import owner_of, reachable_url, take_port

LISTENER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who has a port")


def test_port_0_takes_a_free_one_that_answers() -> None:
    with take_port("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        assert address[1] > 0
        with socket.create_connection(address, timeout=5):
            pass


@needs_ipv6
def test_an_ipv6_address_can_be_listened_on() -> None:
    with take_port("::1", 0) as listener:
        assert listener.family == socket.AF_INET6
        with socket.create_connection(listener.getsockname()[:2], timeout=5):
            pass


def test_small_answers_are_sent_at_once() -> None:
    """asyncio turns Nagle's delay off only for sockets that name their protocol."""
    with take_port("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_port_can_be_taken_again_right_after_it_was_left() -> None:
    with take_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            listener.accept()[0].close()
    with take_port("127.0.0.1", port):
        pass


@needs_proc
def test_a_taken_port_is_refused_with_the_name_of_who_has_it_and_what_to_do() -> None:
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with pytest.raises(StartError) as refused:
            take_port("127.0.0.1", port)
        said = str(refused.value)
        assert f"Port {port} on 127.0.0.1 is taken by python" in said
        assert f"(process {process.pid})" in said
        assert f"--port {port + 1}" in said


@needs_proc
def test_the_owner_of_a_port_is_told_only_for_ports_that_are_listened_on() -> None:
    with take_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        owner = owner_of(port)
        assert owner is not None
        assert owner.endswith(f"(process {os.getpid()})")
    assert owner_of(port) is None


def test_another_port_is_taken_only_when_that_is_allowed() -> None:
    with take_port("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with take_port("127.0.0.1", port, or_any=True) as second:
            assert second.getsockname()[1] != port
        with pytest.raises(StartError, match="is taken"):
            take_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-name.invalid", "2001:db8::1"])
def test_an_address_that_is_not_of_this_machine_is_refused_with_what_to_do(host: str) -> None:
    with pytest.raises(StartError, match=r"Cannot listen on .*--host"):
        take_port(host, 0, or_any=True)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9800"),
        ("0.0.0.0", "http://127.0.0.1:9800"),
        ("::", "http://[::1]:9800"),
        ("::1", "http://[::1]:9800"),
        ("studio.lan", "http://studio.lan:9800"),
    ],
)
def test_a_server_is_reached_where_it_listens_and_on_loopback_when_that_is_everywhere(host: str, url: str) -> None:
    assert reachable_url(host, 9800) == url
