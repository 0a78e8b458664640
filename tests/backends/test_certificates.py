"""A backend behind https: spoken with when this machine trusts its certificate, and told nothing otherwise."""

from __future__ import annotations

import ssl
from pathlib import Path

import anyio
import anyio.abc
import pytest
import trustme
from anyio.streams.tls import TLSStream

from orchestrator_mcp.errors import BackendRefusedError
from tests.backends.conftest import ClientMaker
from tests.backends.talk import WAIT, answer, read_request

REMAINING = b'{"exec_info":{"queue_remaining":3}}'


class Secured:
    """Serves https with a certificate of its own, and counts what comes through."""

    def __init__(self, authority: trustme.CA) -> None:
        self.connections = 0
        self.requests = 0
        self.ended = anyio.Event()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)

    async def run(self, *, task_status: anyio.abc.TaskStatus[int]) -> None:
        """Serve until cancelled; tells the port."""
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
            await listener.serve(self._converse)

    async def _converse(self, raw: anyio.abc.SocketStream) -> None:
        self.connections += 1
        async with raw:
            try:
                secured = await TLSStream.wrap(raw, ssl_context=self._context, server_side=True)
                while await read_request(secured):
                    self.requests += 1
                    await secured.send(answer("200 OK", REMAINING))
            except (ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError):
                self.ended.set()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Who signs certificates that this machine trusts."""
    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(str(tmp_path / "trusted.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    return trusted


async def test_a_backend_with_a_certificate_that_is_trusted_is_asked_over_one_connection(
    authority: trustme.CA, make_client: ClientMaker
) -> None:
    served = Secured(authority)
    with anyio.fail_after(WAIT):
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(served.run)
            async with make_client(port, scheme="https") as client:
                assert [await client.queue_remaining() for _ in range(3)] == [3, 3, 3]
            await served.ended.wait()
            tasks.cancel_scope.cancel()
    assert (served.connections, served.requests) == (1, 3)


@pytest.mark.usefixtures("authority")
async def test_a_backend_with_any_other_certificate_is_sent_nothing(make_client: ClientMaker) -> None:
    served = Secured(trustme.CA())
    with anyio.fail_after(WAIT):
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(served.run)
            async with make_client(port, scheme="https") as client:
                with pytest.raises(BackendRefusedError, match="(?i)certificate"):
                    await client.queue_remaining()
            await served.ended.wait()
            tasks.cancel_scope.cancel()
    assert served.requests == 0
