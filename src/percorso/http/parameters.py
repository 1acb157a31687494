"""Parameters of requests: which are known, and how moments, customers and pages are given."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar, get_origin

from asyncpg.pgproto.pgproto import UUID
from fastapi import Depends, Path, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError
from starlette.convertors import PathConvertor, register_url_convertor

from percorso.details import Moment
from percorso.errors import InvalidRequest, NotFound, Problem
from percorso.http.services import Services, Use
from percorso.ingest.document import distinct
from percorso.ingest.identity import Identifiers
from percorso.interaction import TOUCHPOINT_PATTERN, Channel, Direction, Function
from percorso.queries import cursor
from percorso.queries.interactions import Filters

SLASH = "\ufdd0"
"""Stands for a percent-encoded slash while a request is routed: a character that Unicode keeps for inward use."""


class _Anything(PathConvertor):
    """What a name in a path may be: slashes too, and line breaks, which are then refused with a reason."""

    regex = "(?s:.*)"


register_url_convertor("name", _Anything())

Order = Literal["asc", "desc"]

_LOST_PLUS = re.compile(r" (?=[0-9]{2}:[0-9]{2}$)")
_NO_MOMENT = "must be a date and time with an offset, such as 2026-11-20T10:00:00+01:00 or 2026-11-20T09:00:00Z"
_ANY_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


def _moment(given: Any, read: ValidatorFunctionWrapHandler) -> datetime:
    """A moment in UTC. Mends the commonest slip: `+` not percent-encoded arrives as a space."""
    try:
        moment: datetime = read(_LOST_PLUS.sub("+", given) if isinstance(given, str) else given)
        return moment.astimezone(UTC)
    except (ValidationError, OverflowError):
        raise PydanticCustomError("moment", _NO_MOMENT) from None


QueryMoment = Annotated[Moment, WrapValidator(_moment)]
Since = Annotated[
    QueryMoment | None, Query(alias="from", description="Only what occurred at this moment or later (RFC 3339).")
]
Until = Annotated[
    QueryMoment | None, Query(alias="to", description="Only what occurred before this moment (RFC 3339).")
]
Limit = Annotated[int, Query(ge=1, le=500, description="Most items in a page.")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before.")]


_KNOWN: Final[dict[Callable[..., Any], dict[str, bool]]] = {}
"""The query parameters of each route's function, found out once."""


def _known(dependant: Dependant) -> dict[str, bool]:
    """The query parameters of a route, and whether each may be repeated."""
    known: dict[str, bool] = {}
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            known |= {name: get_origin(each.annotation) is tuple for name, each in annotation.model_fields.items()}
        else:
            known[field.alias] = get_origin(annotation) is tuple
    for inner in dependant.dependencies:
        known |= _known(inner)
    return known


_FREE: Final[set[Callable[..., Any]]] = set()
"""The functions of routes that take query parameters of any name."""

_Route = TypeVar("_Route", bound=Callable[..., Any])


def takes_any(endpoint: _Route) -> _Route:
    """Let a route take query parameters of any name, any number of times, as members to filter by."""
    _FREE.add(endpoint)
    return endpoint


async def only_known(request: Request) -> None:
    """Refuse query parameters that the route does not know or would ignore, and text that the database cannot hold."""
    path = [str(value) for value in request.path_params.values()]
    if any("\0" in value for value in path):
        raise NotFound("Nothing has a NUL character in its name.")
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    known = _KNOWN.get(route.endpoint) or _KNOWN.setdefault(route.endpoint, _known(route.dependant))
    free = route.endpoint in _FREE
    found: list[tuple[tuple[str, ...], str]] = []
    for name, value in request.query_params.multi_items():
        if name not in known and not free:
            found.append((("query", name), f"is not a parameter here; known are: {', '.join(sorted(known)) or 'none'}"))
        elif "\0" in name + value:
            found.append((("query", name), "must not contain NUL characters"))
        elif not known.get(name, free) and len(request.query_params.getlist(name)) > 1:
            found.append((("query", name), "must not be given more than once"))
    if problems := distinct(found):
        raise InvalidRequest("A query parameter cannot be taken.", problems=problems)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From a moment, inclusive, to another, exclusive; None: without end."""

    since: datetime | None
    until: datetime | None


async def time_range(since: Since = None, until: Until = None) -> TimeRange:
    """A range of time; InvalidRequest where nothing can be in it."""
    if since is not None and until is not None and since >= until:
        detail = "must be later than `from`"
        raise InvalidRequest("The range is empty.", problems=[Problem("/query/to", detail)])
    return TimeRange(since, until)


Ranged = Annotated[TimeRange, Depends(time_range)]


async def filters(
    since: Since = None,
    until: Until = None,
    channel: Annotated[tuple[Channel, ...], Query(description="Only these channels; may be repeated.")] = (),
    exclude_channel: Annotated[tuple[Channel, ...], Query(description="Not these channels; may be repeated.")] = (),
    touchpoint: Annotated[
        tuple[str, ...], Query(max_length=100, description="Only these slugs; may be repeated.")
    ] = (),
    kind: Annotated[tuple[str, ...], Query(max_length=100, description="Only these kinds; may be repeated.")] = (),
    function: Annotated[tuple[Function, ...], Query(description="Only these functions; may be repeated.")] = (),
    direction: Annotated[tuple[Direction, ...], Query(description="Only these directions; may be repeated.")] = (),
    order: Annotated[Order, Query(description="Newest first (`desc`) or oldest first (`asc`).")] = "desc",
    limit: Limit = 50,
) -> Filters:
    """Every filter of a list of interactions."""
    await time_range(since, until)
    return Filters(
        since=since,
        until=until,
        channel=channel,
        exclude_channel=exclude_channel,
        touchpoint=touchpoint,
        kind=kind,
        function=function,
        direction=direction,
        order=order,
        limit=limit,
    )


Filtered = Annotated[Filters, Depends(filters)]
Details = Annotated[
    bool,
    Query(description="`false` leaves out `details`, `text`, `attachments`, `attributes` and `source_fields`."),
]
RejectionId = Annotated[uuid.UUID, Path(description="The `rejection_id` that percorso gave.")]
SuspicionId = Annotated[uuid.UUID, Path(description="The `suspicion_id` that percorso gave.")]
KeyId = Annotated[uuid.UUID, Path(description="The key's id.")]
ErasureId = Annotated[uuid.UUID, Path(description="The erasure's id.")]
InteractionId = Annotated[uuid.UUID, Path(description="The `interaction_id` that percorso gave.")]
_Name = Annotated[str, BeforeValidator(lambda given: given.replace(SLASH, "/"))]
Slug = Annotated[_Name, Path(max_length=128, description="The touchpoint's slug.", examples=["support-line"])]
NewSlug = Annotated[
    _Name,
    Path(max_length=128, pattern=TOUCHPOINT_PATTERN, description="The touchpoint's slug.", examples=["support-line"]),
]


def position(given: str | None, *, list_: str) -> UUID | None:
    """Where a page begins: the id in its cursor."""
    return None if given is None else UUID(cursor.decode(given, list_=list_, size=16))


def narrowed(filters: Filters, given: str | None, *, list_: str) -> Filters:
    """The filters of the page that a cursor leads to."""
    return filters if given is None else replace(filters, after=position(given, list_=list_))


def identity(identifiers: Identifiers, named: str) -> UUID:
    """The identity that is named by its id (every id a customer ever had is one) or as `kind:value`.

    ValueError with a sentence where it is neither.
    """
    if _ANY_UUID.fullmatch(named):
        return UUID(named)
    kind, colon, value = named.partition(":")
    if not colon:
        raise ValueError("is neither a customer id nor `kind:value`, such as email:anna@example.com")
    return identifiers.one(kind, value).id


async def customer(
    customer: Annotated[
        _Name,
        Path(
            max_length=700,
            description="A customer id, or an identifier as `kind:value`, percent-encoded.",
            examples=["email:anna@example.com"],
        ),
    ],
    use: Use,
) -> UUID:
    """The identity that stands for the customer whom a path names."""
    return identity_named(customer, use, pointer="/path/customer")


def identity_named(customer: str, use: Services, *, pointer: str) -> UUID:
    """The identity that this customer id or `kind:value` stands for; InvalidRequest at the pointer where it is none."""
    try:
        return identity(use.identifiers, customer)
    except ValueError as error:
        problems = [Problem(pointer, str(error))]
    raise InvalidRequest("The customer is not named as it must be.", problems=problems)


TheCustomer = Annotated[UUID, Depends(customer)]
