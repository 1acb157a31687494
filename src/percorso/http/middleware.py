"""Around every request: an id, a log line, a count. Plain ASGI, since this runs on the hot path."""

import re
import secrets
from time import perf_counter
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percorso.ops import metrics

_log = structlog.get_logger("percorso.access")
_GIVEN: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_QUIET: Final = frozenset({"/health/live", "/health/ready", "/metrics"})


class Observed:
    """Gives each request an id (the caller's `X-Request-Id` where it sends one), and counts and logs its answer.

    Logs name the route, never the path or the query: these may carry an identifier.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["percorso.request_id"] = request_id
        status = 0
        begun = perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            status = 499
        finally:
            _observe(scope, status, perf_counter() - begun, request_id)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)


def _observe(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    route = getattr(scope.get("route"), "path", "none")
    metrics.REQUESTS.labels(route, scope["method"] if route != "none" else "none", status).inc()
    metrics.REQUEST_SECONDS.labels(route).observe(seconds)
    if route not in _QUIET:
        log = _log.debug if status < 400 else _log.info  # noqa: PLR2004 - where errors begin
        log(
            "request",
            request_id=request_id,
            route=route,
            method=scope["method"],
            status=status,
            seconds=round(seconds, 6),
        )
