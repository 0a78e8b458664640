"""An HTTP/1.1 answer as its bytes come in; `httptools`, which is llhttp, reads them."""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpResponseParser

MOST_BESIDE_BODY: Final = 100 * 1024
"""Bytes in a row that are no body: a head, or what a server sends in its place."""


class TornError(Exception):
    """The answer to a request cannot become whole any more."""


class Incoming:
    """One answer; `feed` it until it is whole.

    Args:
        bodiless: whether its head is all of it, whatever that says: it answers a `HEAD`.

    Attributes:
        status: of the answer, once it has begun.
        headers: by their names in lower case, once it has begun.
        begun: the head is there.
        whole: nothing more belongs to it.
        reusable: the connection may carry another request after it.
    """

    def __init__(self, *, bodiless: bool) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.begun = False
        self.whole = False
        self.reusable = False
        self._bodiless = bodiless
        self._body: list[bytes] = []
        self._beside = 0
        self._parser = HttpResponseParser(self)

    def feed(self, received: bytes) -> bytes:
        """Take in what came.

        Args:
            received: at least one byte.

        Returns:
            What of it is body.

        Raises:
            TornError: it is not HTTP, or it is a head without an end.
        """
        try:
            self._parser.feed_data(received)
        except HttpParserError as error:
            self.reusable = False
            if not self.whole:
                raise TornError(f"what came is not HTTP ({error})") from error
        body = b"".join(self._body)
        self._body.clear()
        self._beside = 0 if body else self._beside + len(received)
        if self._beside > MOST_BESIDE_BODY and not self.whole:
            raise TornError(f"more than {MOST_BESIDE_BODY} bytes of headers came")
        return body

    def end(self) -> None:
        """The server sends nothing more.

        Raises:
            TornError: something is missing.
        """
        if not self.begun or "content-length" in self.headers or "transfer-encoding" in self.headers:
            raise TornError("the connection ended before the answer was whole")
        self.whole = True

    def let_go(self) -> None:
        """Nothing is fed any more. It and its parser hold each other, and memory is freed sooner where nothing does."""
        del self._parser

    def on_message_begin(self) -> None:
        """An answer begins; a second one was not asked for. Called by the parser, like all that follow."""
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer, of which nobody wants to know."""
        if not self.begun:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """The head is there."""
        if not self.whole and not self._goes_on:
            self.status = self._parser.get_status_code()
            self.begun = True
            self.whole = self._bodiless

    def on_body(self, piece: bytes) -> None:
        """Some of the body."""
        if not self.whole:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it only said that another one follows."""
        if not self.begun:
            self.headers.clear()
        elif not self.whole:
            self.whole = True
            self.reusable = self._parser.should_keep_alive()

    @property
    def _goes_on(self) -> bool:
        """It is one of those that come before the answer (RFC 9110, 15.2)."""
        return self._parser.get_status_code() in range(102, 200) or self._parser.get_status_code() == 100
