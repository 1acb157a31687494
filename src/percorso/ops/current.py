"""The request that is being answered, for what is far from it: log lines, traces, what is kept with interactions."""

import re
from collections.abc import Iterable, MutableMapping
from contextvars import ContextVar
from typing import Any, Final

Scope = MutableMapping[str, Any]
"""An ASGI scope. Under `percorso.request_id` it has the request's id, under `percorso.traceparent` what was found."""

REQUEST: Final[ContextVar[Scope | None]] = ContextVar("percorso_request", default=None)
"""The scope of the request in whose course this runs, tasks that it began included; None: in the course of none."""

_FOUND: Final = "percorso.traceparent"
_LENGTH: Final = 55
_valid: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.DOTALL
).fullmatch
"""W3C Trace Context, section 3.2: version 00 ends after the flags, a later one may go on after a hyphen."""


def traceparent() -> str | None:
    """Which span stands behind this request: as its caller says, else its own where it is traced; None: it is unknown.

    In the form of W3C Trace Context, without what later versions of it may add. One that is not in that form, or comes
    twice, is as none.
    """
    scope = REQUEST.get()
    return None if scope is None else traceparent_of(scope)


def traceparent_of(scope: Scope) -> str | None:
    """The same of the request that a scope is of. The headers are gone through once."""
    if _FOUND not in scope:
        scope[_FOUND] = _among(scope["headers"])
    found: str | None = scope[_FOUND]
    return found


def traced_as(scope: Scope, own: str) -> None:
    """Say which span a request is itself, where its caller named none."""
    if traceparent_of(scope) is None:
        scope[_FOUND] = own


def told() -> dict[str, str]:
    """What a log line says of the request that it belongs to: `request_id`, and `trace_id` where it is known."""
    scope = REQUEST.get()
    if scope is None:
        return {}
    said = {}
    if request_id := scope.get("percorso.request_id"):
        said["request_id"] = request_id
    if parent := traceparent_of(scope):
        said["trace_id"] = parent.split("-")[1]
    return said


def _among(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    found = None
    for name, value in headers:
        if name == b"traceparent":
            if found is not None or not _valid(value) or (len(value) > _LENGTH and value.startswith(b"00")):
                return None
            found = value[:_LENGTH].decode()
    return found
