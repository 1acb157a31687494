"""Every error as `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from percorso.errors import InvalidRequest, PercorsoError, Problem, Unauthorized, Unavailable
from percorso.storage.database import is_away

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger("percorso.http")


def response(error: PercorsoError, request: Request) -> Response:
    """The answer that says what went wrong, and to whom it can be told apart: type, code, pointers."""
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
    return Response(json.dumps(document), error.status, _headers(error), MEDIA_TYPE)


def _headers(error: PercorsoError) -> Mapping[str, str]:
    if isinstance(error, Unavailable):
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
        problems = [Problem(_pointer(each["loc"]), each["msg"]) for each in error.errors()]
        return response(InvalidRequest("A parameter is not as it must be.", problems=problems), request)

    @app.exception_handler(HTTPException)
    async def of_the_framework(request: Request, error: HTTPException) -> Response:
        answer = response(_Framework(error), request)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(DBAPIError)
    @app.exception_handler(PoolTimeout)
    @app.exception_handler(OSError)
    async def database(request: Request, error: Exception) -> Response:
        if not is_away(error):
            raise error
        _log.warning("the database cannot be reached", error=type(error).__name__)
        return response(Unavailable("The database cannot be reached.", retry_after=2), request)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        _log.error("a request failed", error=type(error).__name__, exc_info=error)
        return response(PercorsoError("The failure was logged under this request's id."), request)


class _Framework(PercorsoError):
    """What the framework itself refuses: an unknown path, a method that a path does not have."""

    def __init__(self, error: HTTPException) -> None:
        super().__init__(f"{error.detail}.")
        self.status = error.status_code  # type: ignore[assignment, misc]
        self.title = str(error.detail)  # type: ignore[misc]
        self.code = str(error.detail).lower().replace(" ", "_")  # type: ignore[misc]


def _pointer(location: tuple[str | int, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
