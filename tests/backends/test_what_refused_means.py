"""Only a machine that answers "nobody listens here" proves that the program which held our prompts is gone."""

from __future__ import annotations

import socket
import ssl

import pytest

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.transport import NOBODY_LISTENS, backend_error
from orchestrator_mcp.errors import BackendError, BackendRefusedError
from orchestrator_mcp.settings import BackendSettings, LimitSettings, SchedulingSettings


async def refusal_of(host: str, port: int) -> BackendError:
    backend = BackendSettings(id="gone", host=host, port=port)
    async with ComfyClient(backend, scheduling=SchedulingSettings(), limits=LimitSettings()) as client:
        with pytest.raises(BackendRefusedError) as caught:
            await client.stats()
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_where_nobody_listens_is_told_as_such(host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        error = await refusal_of(host, taken.getsockname()[1])
    assert error.details["reason"] == NOBODY_LISTENS


@pytest.mark.parametrize("kind", [TimeoutError, OSError, ssl.SSLError, socket.gaierror])
def test_what_is_slow_or_cannot_be_found_is_not(kind: type[Exception]) -> None:
    error = backend_error(kind("no"), backend_id="b", action="GET /x", sent=False)
    assert isinstance(error, BackendRefusedError)
    assert error.details["reason"] != NOBODY_LISTENS
