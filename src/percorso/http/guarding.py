"""What every answer tells a browser: to guess nothing, to keep nothing, and which sites may ask through it."""

from collections.abc import Collection, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from percorso.http.problems import SEGMENT

_Headers = tuple[tuple[bytes, bytes], ...]

_USUAL: Final = {
    # Nearly every answer is about a person; one that may be kept says so itself.
    "Cache-Control": "no-store",
    # Answers are data, wherever they are looked at.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Paths name customers.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_SECURE: Final = {"Strict-Transport-Security": "max-age=31536000"}
_EXPOSED: Final = {
    "Access-Control-Expose-Headers": "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    # The asterisk does not stand for `Authorization`.
    "Access-Control-Allow-Headers": "Authorization, *",
    "Access-Control-Max-Age": "86400",
}
_ANY: Final = "*"


class Guarded:
    """Adds to each answer what browsers are to know, where the answer does not say it itself.

    Pages of `origins`, or of any with `*`, may ask from within a browser. They need a key as any caller does: nothing
    is ever answered for who is signed in, so no answer allows credentials. Segment's and RudderStack's calls come from
    pages of any origin. `secure` says that the service is reached by https only.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str], secure: bool) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        usual = _raw(_USUAL | (_SECURE if secure else {}))
        listed = bool(self._origins) and _ANY.encode() not in self._origins
        self._added = (*usual, *_raw({"Vary": "Origin"} if listed else {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        allowed = self._allowed(scope)
        if allowed and scope["method"] == "OPTIONS" and _given(scope, b"access-control-request-method"):
            headers = [*self._added, *allowed, *_RAW_PREFLIGHT]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        added = self._added if allowed is _NOBODY else (*self._added, *allowed)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                said = _NAMED & {name for name, _ in headers}
                lacking = [each for each in added if each[0] not in said] if said else added
                message["headers"] = [*headers, *lacking]
            await send(message)

        await self._app(scope, receive, guarded)

    def _allowed(self, scope: Scope) -> _Headers:
        """The headers that let the page that asks read the answer; none where it may not, or no page asks."""
        if scope["path"].startswith(SEGMENT):
            return _TO_ANYONE
        if not self._origins:
            return _NOBODY
        if _ANY.encode() in self._origins:
            return _TO_ANYONE
        origin = _given(scope, b"origin")
        return ((b"access-control-allow-origin", origin), *_RAW_EXPOSED) if origin in self._origins else _NOBODY


def _given(scope: Scope, name: bytes) -> bytes:
    """A header of the request; empty where it has none of this name."""
    return next((bytes(value) for each, value in scope["headers"] if each == name), b"")


def _raw(headers: Mapping[str, str]) -> _Headers:
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


_NOBODY: Final[_Headers] = ()
_NAMED: Final = frozenset(name.lower().encode() for name in (*_USUAL, *_SECURE))
"""What an answer may say itself; the rest it never does, or several may."""
_RAW_EXPOSED: Final = _raw(_EXPOSED)
_RAW_PREFLIGHT: Final = _raw(_PREFLIGHT)
_TO_ANYONE: Final = _raw({"Access-Control-Allow-Origin": _ANY} | _EXPOSED)
