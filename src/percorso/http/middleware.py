"""Around every request: a bound, an id, a log line, a count, its path as it was meant. Plain ASGI: the hot path."""

import asyncio
import logging
import re
import secrets
from functools import cache
from time import monotonic, perf_counter
from typing import Final
from urllib.parse import unquote

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percorso.errors import Unavailable
from percorso.http import problems, rates
from percorso.http.budgets import Budgets, Why
from percorso.http.parameters import SLASH
from percorso.ops import current, metrics
from percorso.settings import RouteGroup

_log = structlog.get_logger("percorso.access")
_all_lines = logging.getLogger("percorso.access")
_GIVEN: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_UNANSWERED: Final = 499
"""The status that is counted where the caller hung up."""
_ENCODED_SLASH: Final = re.compile("%2f", re.IGNORECASE)
_QUIET: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
"""What is answered always, and not logged."""
_TELL_EVERY_SECONDS: Final = 5
_ID: Final = "{request_id}"


class Bounded:
    """Works on requests within the budgets of their groups, and answers those beyond with 503 as cheaply as it can.

    Without a bound, what waits its turn grows until every answer comes too late to be of use. A request whose body is
    still on its way is not worked on: slow callers take no one's place. Whether the service is well can be asked at any
    time.
    """

    def __init__(self, app: ASGIApp, budgets: Budgets) -> None:
        self._app = app
        self._budgets = budgets
        self._refused = 0
        self._told = 0.0
        self._answers = {(root, why): _refusal(root, why) for root in (*problems.ROOTS, "") for why in _REFUSALS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        budgets = self._budgets
        group = budgets.group_of(scope)
        why = budgets.why_not(group)
        if why is not None and scope["path"] not in _QUIET:
            self._tell(group, why)
            root = next((root for root in problems.ROOTS if scope["path"].startswith(root)), "")
            await _refuse(self._answers[root, why], _request_id(scope).encode(), send)
            return

        async def received() -> Message:
            budgets.give(group)
            try:
                return await receive()
            finally:
                budgets.take(group)

        budgets.enter(scope, group)
        try:
            await self._app(scope, received, send)
        finally:
            budgets.end(scope, group)

    def _tell(self, group: RouteGroup | None, why: Why) -> None:
        """Count a refusal, and log now and then that there are any: a line for each would cost more than the answer."""
        metrics.SHED.labels(group or "none").inc()
        self._refused += 1
        now = monotonic()
        if now - self._told > _TELL_EVERY_SECONDS:
            _log.warning("more requests arrive than can be worked on", refused=self._refused, group=group, why=why)
            self._refused, self._told = 0, now


_REFUSALS: Final[dict[Why, Unavailable]] = {
    "full": Unavailable("More requests arrive than can be worked on.", retry_after=1),
    "share": Unavailable("More requests of this kind arrive than can be worked on.", retry_after=1),
    "pressure": Unavailable("There is too much to do; what matters more is done first.", retry_after=5),
}

_Refusal = tuple[bytes, list[tuple[bytes, bytes]]]
"""A body, but for the request's id, and headers, but for those that depend on it."""


def _refusal(path: str, why: Why) -> _Refusal:
    """The answer to a request to this path that is not worked on."""
    request = Request({"type": "http", "path": path, "percorso.request_id": _ID})
    answer = problems.response(_REFUSALS[why], request)
    return bytes(answer.body), [header for header in answer.raw_headers if header[0] != b"content-length"]


async def _refuse(answer: _Refusal, request_id: bytes, send: Send) -> None:
    body = answer[0].replace(_ID.encode(), request_id)
    own = [(b"content-length", b"%d" % len(body)), (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": 503, "headers": answer[1] + own})
    await send({"type": "http.response.body", "body": body})


class Observed:
    """Gives each request an id (the caller's `X-Request-Id` where it sends one), and counts and logs its answer.

    What no one foresaw is answered here too, so that it is counted and bears the id like any other answer.

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
        answering = current.REQUEST.set(scope)
        status = _UNANSWERED
        begun = perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *rates.headers(scope),
                ]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            if status != _UNANSWERED:
                raise
            stopping = problems.response(Unavailable("The service is stopping.", retry_after=2), Request(scope))
            await stopping(scope, receive, observed)
        except Exception as error:
            answer = problems.failure(error, Request(scope))
            if status != _UNANSWERED:
                raise
            await answer(scope, receive, observed)
        finally:
            _observe(scope, status, perf_counter() - begun, request_id)
            current.REQUEST.reset(answering)


class EncodedSlashes:
    """Keeps a slash that came percent-encoded apart from those that divide the path: it belongs to a name.

    Routing sees `parameters.SLASH` in its place, so that `org%2Fjourney` cannot be taken for the journey of `org`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        raw = scope.get("raw_path") or b""
        if b"%2" in raw:
            scope["path"] = SLASH.join(map(unquote, _ENCODED_SLASH.split(raw.decode("latin-1"))))
        await self._app(scope, receive, send)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)


# Both are asked with a handful of arguments only: finding a metric's child costs more than counting.
_counted = cache(metrics.REQUESTS.labels)
_timed = cache(metrics.REQUEST_SECONDS.labels)


def _observe(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    route = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if route != "none" and scope["method"] in problems.METHODS else "none"
    _counted(route, method, status).inc()
    _timed(route).observe(seconds)
    if route in _QUIET:
        return
    failed = status >= 400  # noqa: PLR2004 - where errors begin
    if failed or _all_lines.isEnabledFor(logging.DEBUG):
        log = _log.info if failed else _log.debug
        log(
            "request",
            request_id=request_id,
            route=route,
            method=method,
            status=status,
            seconds=round(seconds, 6),
        )
