"""Connections: what a client may take its time with, and what not.

A client that sends its request a byte at a time holds a connection, and with its headers a place among the requests in
progress. The server that uvicorn is waits for it for ever; this one waits for as long as a slow line needs.
"""

import asyncio
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

CONNECTION: Final = "percorso.connection"
"""Where a request's scope names its connection."""
LEAST_BYTES_A_SECOND: Final = 1024
"""A request that arrives faster than this has all the time it wants."""
_LOOKS: Final = 4
"""How often in `patience_seconds` an unfinished request is looked at."""
_TOO_SLOW: Final = (
    b'{"type": "urn:percorso:problem:request_timeout", "title": "The request arrives too slowly", "status": 408, '
    b'"detail": "The request did not arrive in time: send it again, in one go.", "code": "request_timeout", '
    b'"errors": []}\n'
)
_ANSWER: Final = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_TOO_SLOW), _TOO_SLOW)
)


class Connection(HttpToolsProtocol):
    """A connection on which a request must arrive in `patience_seconds`, or at `LEAST_BYTES_A_SECOND`.

    Time in which the service itself does not read is not the client's. One that says nothing at all is idle, and closed
    as one whose last answer lies as far back.
    """

    patience_seconds: ClassVar[float] = 30

    _since: float | None = None
    """When the request that is arriving began; None between requests."""
    _arrived: int = 0
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
        super().data_received(data)

    def on_message_complete(self) -> None:  # noqa: D102 - uvicorn's
        self._since = None
        super().on_message_complete()

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
            self.transport.write(_ANSWER)
        self.transport.close()
