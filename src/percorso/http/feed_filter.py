"""What the feed is narrowed to: as parameters of a request, and as JSON in a subscription."""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, urlencode

from asyncpg.pgproto.pgproto import UUID
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from percorso.errors import InvalidRequest, Problem
from percorso.http.parameters import identity
from percorso.ingest.identity import Identifiers
from percorso.interaction import Channel, Direction, Function
from percorso.queries.feed_kinds import EVENTS, Wanted
from percorso.queries.interactions import Filters

MOST: Final = 30
"""Values that one filter may have."""


def _event(given: str) -> str:
    if given not in EVENTS:
        raise PydanticCustomError("event", "must be one of {events}", {"events": ", ".join(EVENTS)})
    return given


Event = Annotated[str, AfterValidator(_event), Field(json_schema_extra={"enum": list(EVENTS)}, examples=[EVENTS[0]])]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]
_Who = Annotated[str, StringConstraints(min_length=1, max_length=700)]


class FeedFilter(BaseModel):
    """What an interaction must be for its events to be told; what is deleted, and customers, pass the first six."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: tuple[Channel, ...] = Field((), max_length=MOST, description="Only these channels.")
    source: tuple[_Word, ...] = Field((), max_length=MOST, description="Only what these sources sent.")
    touchpoint: tuple[_Word, ...] = Field((), max_length=MOST, description="Only these touchpoints, by slug.")
    kind: tuple[_Word, ...] = Field((), max_length=MOST, description="Only these kinds.")
    function: tuple[Function, ...] = Field((), max_length=MOST, description="Only these functions.")
    direction: tuple[Direction, ...] = Field((), max_length=MOST, description="Only these directions.")
    customer: tuple[_Who, ...] = Field(
        (), max_length=MOST, description="Only these customers, by id or `kind:value`; of what is deleted too."
    )

    def stored(self, events: Sequence[str]) -> str | None:
        """As it is stored with a subscription to these events: a query string; None where it narrows nothing."""
        return urlencode({"event": events} | self.model_dump(exclude_defaults=True), doseq=True) or None

    @classmethod
    def of_stored(cls, query: str | None) -> "tuple[FeedFilter, tuple[str, ...]]":
        """What was stored, and the events."""
        given = {name: tuple(values) for name, values in parse_qs(query or "").items()}
        events = given.pop("event", ())
        return cls.model_validate(given), events

    def wanted(self, events: tuple[str, ...], identifiers: Identifiers, *, pointer: str) -> Wanted:
        """What a reader wants who gave this; InvalidRequest below the pointer where a customer is named wrongly."""
        customers: list[UUID] = []
        problems: list[Problem] = []
        for number, each in enumerate(self.customer):
            try:
                customers.append(identity(identifiers, each))
            except ValueError as error:
                problems.append(Problem(f"{pointer}/customer/{number}", str(error)))
        if problems:
            raise InvalidRequest("A customer is not named as it must be.", problems=problems)
        narrowing: dict[str, Any] = {
            name: getattr(self, name) for name in ("channel", "touchpoint", "kind", "function", "direction")
        }
        return Wanted(events=events, filters=Filters(**narrowing), sources=self.source, customers=customers)


async def asked_for(
    event: Annotated[
        tuple[Event, ...], Query(max_length=MOST, description="Only events of these types; may be repeated.")
    ] = (),
    channel: Annotated[
        tuple[Channel, ...], Query(max_length=MOST, description="Only these channels; may be repeated.")
    ] = (),
    source: Annotated[
        tuple[_Word, ...], Query(max_length=MOST, description="Only what these sources sent; may be repeated.")
    ] = (),
    touchpoint: Annotated[
        tuple[_Word, ...], Query(max_length=MOST, description="Only these slugs; may be repeated.")
    ] = (),
    kind: Annotated[tuple[_Word, ...], Query(max_length=MOST, description="Only these kinds; may be repeated.")] = (),
    function: Annotated[
        tuple[Function, ...], Query(max_length=MOST, description="Only these functions; may be repeated.")
    ] = (),
    direction: Annotated[
        tuple[Direction, ...], Query(max_length=MOST, description="Only these directions; may be repeated.")
    ] = (),
    customer: Annotated[
        tuple[_Who, ...],
        Query(max_length=MOST, description="Only these customers, by id or `kind:value`; may be repeated."),
    ] = (),
) -> tuple[FeedFilter, tuple[str, ...]]:
    """The filter that a request's parameters give, and the types of events that it wants."""
    return (
        FeedFilter(
            channel=channel,
            source=source,
            touchpoint=touchpoint,
            kind=kind,
            function=function,
            direction=direction,
            customer=customer,
        ),
        event,
    )
