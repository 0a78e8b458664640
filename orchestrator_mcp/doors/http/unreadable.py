"""What never becomes a request: answered as JSON like every other mistake, although no application sees it."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator_mcp.doors.http.answers import error_document

MOST_HEAD: Final = 1 << 19
"""Bytes of a request's head, or of what follows its body. Anybody can send them, with a token or without."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, but for its words to what cannot be read, and with an end to what it keeps of that."""

    _kept = 0
    """Bytes since a head or a piece of a body was whole: nobody looks at them before that."""

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._kept += len(data)
        super().data_received(data)
        if self._kept > MOST_HEAD and not self.transport.is_closing():
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The head of the request is larger than {MOST_HEAD:,} bytes.",
                code="too_large",
                hint="Send what is long in the body.",
            )

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._kept = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body is there."""
        self._kept = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong.

        Args:
            msg: what uvicorn would say, the same for every fault; the parser, whose error is being handled, says more.
        """
        error = sys.exception()
        fault = str((error and error.__context__) or error or msg).rstrip(".")
        self._refuse(
            HTTPStatus.BAD_REQUEST,
            f"The request is no HTTP that can be read: {fault}.",
            code="bad_request",
            hint="Look at its method, address and headers, and at the length of its body.",
        )

    def _refuse(self, status: HTTPStatus, detail: str, **more: Any) -> None:
        """Answer, and close the connection: where the next request begins is not known."""
        body = json.dumps(error_document(detail, **more)).encode()
        lines = (
            f"HTTP/1.1 {status} {status.phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "cache-control: no-store",
            "connection: close",
        )
        self.transport.write("\r\n".join((*lines, "\r\n")).encode() + body)
        self.transport.close()
