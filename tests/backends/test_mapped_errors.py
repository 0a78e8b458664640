"""Every error of the libraries below has one of our words, and the right one."""

from __future__ import annotations

import inspect
import socket
import ssl
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import websockets.exceptions

from orchestrator_mcp.backends.incoming import TornError
from orchestrator_mcp.backends.transport import foreign_errors_mapped
from orchestrator_mcp.errors import BackendAmbiguousError, BackendError, BackendRefusedError

NEVER_SENT = {websockets.exceptions.InvalidURI, ConnectionRefusedError, socket.gaierror}


def raised_by_libraries() -> Iterator[type[Exception]]:
    for found in vars(websockets.exceptions).values():
        if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning):
            yield found
    yield from (OSError, TimeoutError, ConnectionResetError, ConnectionRefusedError, BrokenPipeError, socket.gaierror)
    yield from (TornError, ssl.SSLError, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("kind", sorted(set(raised_by_libraries()), key=str))
def test_every_foreign_error_becomes_ours_and_never_claims_that_nothing_was_sent_unless_that_is_sure(
    kind: type[Exception],
) -> None:
    expected = BackendRefusedError if issubclass(kind, tuple(NEVER_SENT)) else BackendAmbiguousError
    with pytest.raises(BackendError) as raised, foreign_errors_mapped("node1", "POST /prompt", sent=lambda: True):
        raise quiet(kind)
    assert type(raised.value) is expected
    assert raised.value.message.isprintable()
    assert raised.value.backend_id == "node1"


@pytest.mark.parametrize("kind", [TornError, TimeoutError, OSError])
def test_what_breaks_before_the_first_byte_left_is_a_refusal(kind: type[Exception]) -> None:
    with pytest.raises(BackendRefusedError), foreign_errors_mapped("node1", "POST /prompt", sent=lambda: False):
        raise quiet(kind)


def test_an_error_that_is_not_about_the_wire_passes_through() -> None:
    with pytest.raises(KeyError), foreign_errors_mapped("node1", "GET /queue", sent=lambda: True):
        raise KeyError("ours")


def quiet(kind: type[Exception]) -> Exception:
    """An instance whose text can be asked for although it was made without arguments."""
    members = {
        "__init__": lambda self: None,
        "__str__": lambda self: "torn\r\n\x1b[31mcable",
        "response": SimpleNamespace(status_code=500),
    }
    error: Exception = type(kind.__name__, (kind,), members)()
    return error
