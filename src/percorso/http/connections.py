"""Connections: what a client may take its time with, how much it may say before it comes to the point.

A client that sends its request a byte at a time holds a connection, and with its headers a place among the requests in
progress. The server that uvicorn is waits for it for ever; this one waits for as long as a slow line needs. That one
also keeps headers of any number and length; here they have an end.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

CONNECTION: Final = "percorso.connection"
"""Where a request's scope names its connection."""
LEAST_BYTES_A_SECOND: Final = 1024
"""A request that arrives faster than this has all the time it wants."""
_LOOKS: Final = 4
"""How often in `patience_seconds` an unfinished request is looked at."""
MOST_HEADERS: Final = 128
"""Headers of a request, those that come after its body included."""
MOST_HEAD_BYTES: Final = 64 * 1024
"""Of a request, all that is no body: its line, its headers, and what may stand between the chunks of a body."""


def _answer(status: HTTPStatus, code: str, title: str, detail: str) -> bytes:
    """What is said on a connection on which no more will be said."""
    document = {
        "type": f"urn:percorso:problem:{code}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "code": code,
        "errors": [],
    }
    body = json.dumps(document).encode() + b"\n"
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
        % (status, status.phrase.encode(), len(body), body)
    )


_TOO_SLOW: Final = _answer(
    HTTPStatus.REQUEST_TIMEOUT,
    "request_timeout",
    "The request arrives too slowly",
    "The request did not arrive in time: send it again, in one go.",
)
_TOO_MUCH: Final = _answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "headers_too_large",
    "The request has too many headers, or too long ones",
    f"A request may have {MOST_HEADERS} headers, and {MOST_HEAD_BYTES // 1024} KiB of them, its path included.",
)
_NO_HTTP: Final = _answer(
    HTTPStatus.BAD_REQUEST,
    "malformed_request",
    "The request is not HTTP as it must be",
    "The request is not HTTP/1.1 as RFC 9112 has it: see its first line, its headers, and how its length is given.",
)


class _TooMuchError(Exception):
    """More headers than are read; the parser turns it into an error of its own."""


class Connection(HttpToolsProtocol):
    """A connection on which a request must arrive in `patience_seconds`, or at `LEAST_BYTES_A_SECOND`.

    Time in which the service itself does not read is not the client's. One that says nothing at all is idle, and closed
    as one whose last answer lies as far back.
    """

    patience_seconds: ClassVar[float] = 30

    _since: float | None = None
    """When the request that is arriving began; None between requests."""
    _arrived: int = 0
    _beside: int = 0
    """Bytes that arrived since something was made of them: a head that is complete, a part of a body."""
    _too_much: bool = False
    _ending: asyncio.Event | None = None

    def on_message_begin(self) -> None:  # noqa: D102 - uvicorn's
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[CONNECTION] = self

    def shutdown(self) -> None:  # noqa: D102 - uvicorn's
        self.ending().set()
        super().shutdown()

    def ending(self) -> asyncio.Event:
        """Set once the server stops, so that an answer without an end of its own comes to one."""
        if self._ending is None:
            self._ending = asyncio.Event()
        return self._ending

    async def cut(self) -> None:
        """Let go of a client that takes nothing of its answer, with what still waits to be sent."""
        self.transport.abort()
        # The loop tells the connection in its next turn; then what waits to send gets through.
        await asyncio.sleep(0)

    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, D102 - uvicorn's signature
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self.loop.call_later(self.patience_seconds / _LOOKS, self._look)

    def data_received(self, data: bytes) -> None:  # noqa: D102 - asyncio's
        if self._since is None:
            self._since, self._arrived = self.loop.time(), 0
        self._arrived += len(data)
        self._beside += len(data)
        super().data_received(data)
        # Headers also come after a body, and each may be of any length.
        if self._beside > MOST_HEAD_BYTES or len(self.headers or ()) > MOST_HEADERS:
            self._refuse_head()

    def on_headers_complete(self) -> None:  # noqa: D102 - uvicorn's
        if len(self.headers) > MOST_HEADERS or (self._arrived > MOST_HEAD_BYTES and self._head() > MOST_HEAD_BYTES):
            self._too_much = True
            raise _TooMuchError
        self._beside = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:  # noqa: D102 - uvicorn's
        self._beside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:  # noqa: D102 - uvicorn's
        self._since = None
        self._beside = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002, D102 - uvicorn's, which says less
        self._end_with(_TOO_MUCH if self._too_much else _NO_HTTP)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: whoever asks for another protocol is answered in this one, as often as they like."""

    def _head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self._end_with(_TOO_MUCH)

    def _end_with(self, answer: bytes) -> None:
        """Say it where it cannot be taken for the answer to something else, and close.

        While a request is worked on, what comes after it on the same connection may not be answered before it.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            self.transport.write(answer)
        self.transport.close()

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        pause = self.patience_seconds / _LOOKS
        if self._since is not None:
            if self.flow.read_paused:
                self._since += pause
            elif self.loop.time() - self._since > self.patience_seconds + self._arrived / LEAST_BYTES_A_SECOND:
                self._give_up()
                return
        self.loop.call_later(pause, self._look)

    def _give_up(self) -> None:
        """Say so where there is a request to answer and nothing was answered yet; close in any case."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_started and not cycle.response_complete:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
