"""A route for the hot paths, which needs little to find out what its function takes, and the short way to it."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from percorso.errors import InvalidRequest, PercorsoError
from percorso.http import problems
from percorso.ingest.document import distinct

Answer = Callable[[Request], Awaitable[Response]]


class DirectRoute(APIRoute):
    """Calls its dependencies and its function itself, in order; in the contract it is a route like any other.

    FastAPI's own solver takes a fifth of the time of a small request, most of it to find out anew what each dependency
    needs. Here that is done once, and of the parameters only those that were sent are looked at. They may stand in the
    path and in the query; dependencies are coroutine functions (TypeError at start where something else is asked for).
    A router of such routes names its application's dependencies too.
    """

    def get_route_handler(self) -> Answer:  # type: ignore[override]
        """The function that answers a request."""
        endpoint = _Call.of(self.dependant)

        async def answer(request: Request) -> Response:
            errors: list[Any] = []
            given = await endpoint.given(request, {}, errors)
            if errors:
                found = distinct((each["loc"], each["msg"]) for each in errors)
                raise InvalidRequest("A parameter is not as it must be.", problems=found)
            response: Response = await endpoint.call(**given)
            return response

        return answer


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of the path or the query: its name in the request, its name in the function, how it is read."""

    alias: str
    name: str
    repeats: bool
    read: Callable[..., tuple[Any, list[Any]]]


@dataclass(frozen=True, slots=True)
class _Call:
    """A function that is called for a request, and what it takes."""

    call: Callable[..., Awaitable[Any]]
    name: str | None
    request: str | None
    dependencies: Sequence["_Call"]
    path: Sequence[_Parameter]
    query: Sequence[_Parameter]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, dependant: Dependant) -> "_Call":
        """What FastAPI found out about a function."""
        call = dependant.call
        others = dependant.header_params or dependant.cookie_params or dependant.body_params
        asked = others or any(field.field_info.is_required() for field in dependant.query_params)
        if call is None or asked or not (iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__)):
            raise TypeError(f"A direct route cannot call {call}.")
        path, query = (
            [
                _Parameter(field.alias, field.name, get_origin(field.field_info.annotation) is tuple, field.validate)
                for field in fields
            ]
            for fields in (dependant.path_params, dependant.query_params)
        )
        return cls(
            call=call,
            name=dependant.name,
            request=dependant.request_param_name,
            dependencies=[cls.of(inner) for inner in dependant.dependencies],
            path=path,
            query=query,
            defaults={field.name: field.get_default() for field in dependant.query_params},
        )

    async def given(self, request: Request, called: dict[Any, Any], errors: list[Any]) -> dict[str, Any]:
        """What this function is given; what cannot be read is added to `errors`, as FastAPI would tell it.

        `called` has the results of dependencies: each is called once a request.
        """
        values = self.defaults.copy()
        for inner in self.dependencies:
            if inner.call not in called:
                before = len(errors)
                given = await inner.given(request, called, errors)
                if len(errors) > before:
                    continue
                called[inner.call] = await inner.call(**given)
            if inner.name is not None:
                values[inner.name] = called[inner.call]
        if self.request is not None:
            values[self.request] = request
        for parameter in self.path:
            sent = request.path_params[parameter.alias]
            values[parameter.name], wrong = parameter.read(sent, loc=("path", parameter.alias))
            errors += wrong
        if self.query and (sent_all := request.query_params):
            for parameter in self.query:
                if parameter.alias in sent_all:
                    sent = sent_all.getlist(parameter.alias) if parameter.repeats else sent_all[parameter.alias]
                    values[parameter.name], wrong = parameter.read(sent, loc=("query", parameter.alias))
                    errors += wrong
        return values


class Direct:
    """Takes requests for the direct routes straight there; all others go through the framework's layers.

    Those layers take as long as all that is done with a single interaction; none of them has anything to do for a
    route whose errors are PercorsoErrors.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], *, of: object) -> None:
        self._app = app
        self._of = of
        self._plain: dict[tuple[str, str], tuple[DirectRoute, Answer]] = {}
        self._named: list[tuple[DirectRoute, Answer]] = []
        for route in _direct(routes):
            way = route, route.get_route_handler()
            if route.param_convertors:
                self._named.append(way)
            else:
                self._plain |= {(method, route.path): way for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._of
        scope["route"], answer = found
        request = Request(scope, receive, send)
        try:
            response = await answer(request)
        except PercorsoError as error:
            response = problems.response(error, request)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[DirectRoute, Answer] | None:
        """The route of a request, whose path parameters are put where the framework would."""
        method, path = scope["method"], scope["path"]
        if found := self._plain.get((method, path)):
            return found
        for route, answer in self._named:
            if method in (route.methods or ()) and (match := route.path_regex.match(path)):
                named = match.groupdict().items()
                scope["path_params"] = {name: route.param_convertors[name].convert(value) for name, value in named}
                return route, answer
        return None


def _direct(routes: Iterable[BaseRoute]) -> Iterator[DirectRoute]:
    """The direct routes among these, and in the routers that were included."""
    for route in routes:
        if isinstance(route, DirectRoute):
            yield route
        elif included := getattr(route, "original_router", None):
            yield from _direct(included.routes)
