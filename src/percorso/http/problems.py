"""Every error as `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from percorso.errors import InvalidRequest, PercorsoError, TooManyRequests, Unauthorized, Unavailable
from percorso.formats import tmf683, tmf683_asked
from percorso.ingest.document import distinct
from percorso.ops import logs
from percorso.storage.database import is_away

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

SEGMENT = "/segment/"
"""Where paths begin whose clients are Segment's and RudderStack's: they read `code` and `message`, and else try again
what will never be taken."""
ROOTS = (SEGMENT, tmf683.ROOT)
"""Where paths begin whose errors have a form of their own."""

_log = structlog.get_logger("percorso.http")


def response(error: PercorsoError, request: Request) -> Response:
    """The answer that says what went wrong, and to whom it can be told apart: type, code, pointers."""
    if str(request.scope.get("path", "")).startswith(tmf683.ROOT):
        return _of_tmf(error, request)
    document: dict[str, Any] = {
        "type": f"urn:percorso:problem:{error.code}",
        "title": error.title,
        "status": int(error.status),
        "detail": error.detail,
        "instance": f"urn:percorso:request:{request.scope.get('percorso.request_id', '')}",
        "code": error.code,
        "errors": [problem.as_json() for problem in error.problems],
        **error.members,
    }
    headers = _headers(error)
    if str(request.scope.get("path", "")).startswith(SEGMENT):
        document["message"] = error.detail
    return Response(json.dumps(document) + "\n", error.status, headers, MEDIA_TYPE)


def _of_tmf(error: PercorsoError, request: Request) -> Response:
    """The same as TMF630 has it, where what cannot be taken is 400."""
    status = int(error.status)
    document = tmf683_asked.error(
        code=error.code,
        status=HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status,
        title=error.title,
        detail=error.detail,
        instance=f"urn:percorso:request:{request.scope.get('percorso.request_id', '')}",
        problems=error.problems,
    )
    return Response(json.dumps(document) + "\n", int(document["status"]), _headers(error), "application/json")


def _headers(error: PercorsoError) -> Mapping[str, str]:
    if isinstance(error, (TooManyRequests, Unavailable)):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="percorso"'}
    return {}


def install(app: FastAPI) -> None:
    """Make an application answer every error in this form."""

    @app.exception_handler(PercorsoError)
    async def known(request: Request, error: PercorsoError) -> Response:
        return response(error, request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        problems = distinct((each["loc"], each["msg"]) for each in error.errors())
        return response(InvalidRequest("A parameter is not as it must be.", problems=problems), request)

    @app.exception_handler(HTTPException)
    async def of_the_framework(request: Request, error: HTTPException) -> Response:
        answer = response(_Framework(error), request)
        answer.headers.update(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["Allow"] = ", ".join(_allowed(request))
        return answer


def _allowed(request: Request) -> list[str]:
    """The methods that this path has, whichever routes they belong to."""
    routes: list[BaseRoute] = request.app.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def failure(error: Exception, request: Request) -> Response:
    """The answer to a request that failed, which is logged without what the error says: that may be personal."""
    request_id = request.scope.get("percorso.request_id", "")
    if is_away(error):
        _log.warning("the database cannot be reached", request_id=request_id, **logs.described(error))
        return response(Unavailable("The database cannot be reached.", retry_after=2), request)
    _log.error("a request failed", request_id=request_id, **logs.described(error))
    return response(PercorsoError("The failure was logged under this request's id."), request)


class _Framework(PercorsoError):
    """What the framework itself refuses: an unknown path, a method that a path does not have."""

    def __init__(self, error: HTTPException) -> None:
        super().__init__(f"{error.detail}.")
        self.status = error.status_code  # type: ignore[assignment, misc]
        self.title = str(error.detail)  # type: ignore[misc]
        self.code = str(error.detail).lower().replace(" ", "_")  # type: ignore[misc]
