"""Around every request, where tracing is on: its span."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percorso.http.problems import METHODS
from percorso.ops import tracing

_UNANSWERED: Final = 499
"""The status of a request whose caller hung up."""
_OTHER: Final = "_OTHER"
"""What OpenTelemetry's conventions call a method that is none of HTTP's own."""
_QUIET: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Asked for every few seconds, by machines: their traces would be all there are."""


class Traced:
    """Makes a span of each request, named for its route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in _QUIET or not tracing.on():
            await self._app(scope, receive, send)
            return
        status = _UNANSWERED

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        method = scope["method"] if scope["method"] in METHODS else _OTHER
        with tracing.request(scope, method) as span:
            try:
                await self._app(scope, receive, noted)
            finally:
                tracing.answered(span, scope, method, status)
