"""Finding customers: the filters, as parameters of a search and as JSON in a segment, and the search."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from percorso.errors import InvalidRequest, Problem
from percorso.http import answers
from percorso.http.access import MayRead
from percorso.http.documented import FoundCustomers
from percorso.http.documented import answers as documented
from percorso.http.parameters import Cursor, Limit, Order, QueryMoment
from percorso.http.services import Reads
from percorso.ingest.normalise import beginning
from percorso.interaction import IDENTIFIER_KIND_PATTERN, Channel
from percorso.measures.relationship import State
from percorso.measures.rfm import RfmClass
from percorso.queries import followers, profiles, segments
from percorso.queries.cursor import Page
from percorso.queries.profiles import FOLLOWER, Filters, Found

router = APIRouter(prefix="/v1/customers", tags=["Finding customers"])

_MOST: Final = 30
"""Values that one filter may have."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_SCALAR: Final = re.compile(r"true|false|-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?")
"""What may stand for itself in JSON beside a string."""
_SPANS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}
SPAN_PATTERN: Final = r"^[1-9][0-9]{0,4}[hd]$"
SEGMENT_PATTERN: Final = r"^[a-z0-9][a-z0-9_.-]*$"


def _identifier(given: str) -> str:
    try:
        _beginning_of(given)
    except ValueError as error:
        raise PydanticCustomError("identifier", "{reason}", {"reason": str(error)}) from None
    return given


def _beginning_of(given: str) -> tuple[str, str]:
    """A kind, and the beginning of a value as values begin in normal form; ValueError with a sentence."""
    kind, colon, value = given.partition(":")
    if not colon or not re.fullmatch(IDENTIFIER_KIND_PATTERN, kind):
        raise ValueError("must be a kind and the beginning of a value, such as email:an")
    return kind, beginning(kind, value)


def _trait(given: str) -> str:
    name, colon, _ = given.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise PydanticCustomError("trait", "must be a trait's name and its value, such as city:Milano")
    return given


def _forms_of(trait: str) -> list[str]:
    """A trait as JSON in each form that fits: its value as text, as a number or a truth value, alone or in a list."""
    name, _, value = trait.partition(":")
    values: list[Any] = [json.dumps(value)]
    if _SCALAR.fullmatch(value):
        values.append(value)
    return [f"{{{json.dumps(name)}: {form}}}" for each in values for form in (each, f"[{each}]")]


def _span(given: str) -> timedelta:
    return int(given[:-1]) * _SPANS[given[-1]]


Span = Annotated[str, Field(pattern=SPAN_PATTERN, examples=["90d"])]
TraitIs = Annotated[str, Field(max_length=512), AfterValidator(_trait)]


class CustomerFilters(BaseModel):
    """What customers are narrowed to; all that is given must hold."""

    model_config = ConfigDict(frozen=True)

    identifier: Annotated[str, Field(max_length=320), AfterValidator(_identifier)] | None = Field(
        None,
        description="Who has an identifier of this kind that begins so, as `kind:beginning`; those come first in the "
        "alphabet first, also such as have no profile yet.",
        examples=["email:an"],
    )
    trait: tuple[TraitIs, ...] = Field(
        (),
        max_length=_MOST,
        description="Who has this trait, as `name:value`; may be repeated, then all must hold.",
        examples=[["city:Milano"]],
    )
    last_contact_from: QueryMoment | None = Field(
        None, description="Whose last contact was at this moment or later (RFC 3339)."
    )
    last_contact_to: QueryMoment | None = Field(None, description="Whose last contact was before this moment.")
    last_contact_within: Span | None = Field(
        None, description="Whose last contact is at most so long ago, in hours or days, such as `90d`."
    )
    last_contact_before: Span | None = Field(
        None, description="Whose last contact is longer ago than this, such as `180d`."
    )
    channel: tuple[Channel, ...] = Field(
        (), max_length=_MOST, description="With whom there was contact on one of these channels; may be repeated."
    )
    relationship: tuple[State, ...] = Field(
        (), max_length=_MOST, description="Whose relationship is one of these; may be repeated."
    )
    rfm: tuple[RfmClass, ...] = Field(
        (), max_length=_MOST, description="Who is in one of these classes of buyers; may be repeated."
    )
    open_complaints: bool | None = Field(None, description="Who has open complaints, or with `false` who has none.")

    @field_validator("last_contact_to")
    @classmethod
    def _later(cls, until: datetime | None, info: ValidationInfo) -> datetime | None:
        since = info.data.get("last_contact_from")
        if since is not None and until is not None and since >= until:
            raise PydanticCustomError("range", "must be later than `last_contact_from`")
        return until

    @field_validator("last_contact_before")
    @classmethod
    def _shorter(cls, before: str | None, info: ValidationInfo) -> str | None:
        within = info.data.get("last_contact_within")
        if within is not None and before is not None and _span(before) >= _span(within):
            raise PydanticCustomError("range", "must be shorter than `last_contact_within`")
        return before

    def at(self, now: datetime) -> Filters:
        """These filters, with spans of time counted back from `now`."""
        since = None if self.last_contact_within is None else now - _span(self.last_contact_within)
        until = None if self.last_contact_before is None else now - _span(self.last_contact_before)
        return Filters(
            identifier=None if self.identifier is None else _beginning_of(self.identifier),
            traits=[_forms_of(trait) for trait in self.trait],
            last_contact_from=max(filter(None, (self.last_contact_from, since)), default=None),
            last_contact_to=min(filter(None, (self.last_contact_to, until)), default=None),
            channel=self.channel,
            relationship=self.relationship,
            rfm=self.rfm,
            open_complaints=self.open_complaints,
        )


class SegmentFilter(CustomerFilters):
    """The filters of a segment, as JSON: exactly of their types, and nothing else."""

    model_config = ConfigDict(strict=True, extra="forbid")


Segment = Annotated[
    str | None,
    Query(max_length=segments.LONGEST_NAME, pattern=SEGMENT_PATTERN, description="Only members of this segment."),
]


@router.get(
    "",
    summary="Find customers",
    response_class=Response,
    responses=documented(FoundCustomers, 404, says="A page of customers."),
)
async def find_customers(
    request: Request,
    _: MayRead,
    wanted: Annotated[CustomerFilters, Query()],
    session: Reads,
    segment: Segment = None,
    order: Annotated[
        Order | None,
        Query(description="Latest contact first (`desc`, if nothing is said) or longest ago first (`asc`)."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Find customers by what their profiles say, or by the beginning of an identifier, which gives them in its order.

    Profiles follow what is stored within seconds: all that was committed before `as_of` is in them, and each was what
    the summary said at `computed_at`. `as_of` is null until every customer has a first one. A customer whose last
    contact changes while pages are read may be passed over or come twice; the members of a segment come exactly once.
    """
    now = datetime.now(UTC)
    filters = [wanted.at(now)]
    if segment is not None:
        filters.append(stored(await segments.by_name(session, segment), now))
    if order is not None and any(each.identifier for each in filters):
        detail = "must not be given with an identifier: then customers come in its order"
        raise InvalidRequest("The order cannot be had.", problems=[Problem("/query/order", detail)])
    page = await profiles.page(session, filters, order=order or "desc", limit=limit, after=cursor)
    return await customers_response(request, session, page)


def stored(segment: Any, now: datetime) -> Filters:
    """The filters of a segment as it is stored."""
    return SegmentFilter.model_validate_json(segment["filter"]).at(now)


async def customers_response(request: Request, session: Reads, page: Page[Found]) -> Response:
    """A page of customers, and up to when what is said of them holds."""
    as_of = await followers.as_of(session, FOLLOWER)
    return answers.page_response(
        request,
        [_document(found) for found in page.items],
        page.next_cursor,
        as_of=None if as_of is None else answers.moment(as_of),
    )


def _document(found: Found) -> dict[str, Any]:
    profile = found.profile
    document: dict[str, Any] = {
        "customer_id": str(found.customer_id),
        "identifiers": [
            {
                "kind": each["kind"],
                "value": each["value"],
                "strong": each["strong"],
                "first_seen_at": answers.moment(each["first_seen_at"]),
            }
            for each in found.identifiers
        ],
    }
    if profile is None:
        return document | {"profile": None}
    return document | {"profile": _profile(profile)}


def _profile(profile: Record) -> dict[str, Any]:
    moments = {"computed_at": "computed_at", "first_contact_at": "first_at", "last_contact_at": "last_at"}
    return {
        **{name: answers.optional(profile[column]) for name, column in moments.items()},
        "interactions": profile["interactions"],
        "channels": profile["channels"],
        "relationship": profile["relationship"],
        "relationship_score": profile["score"],
        "open_complaints": profile["open_complaints"],
        "buying": {
            "purchases": profile["purchases"],
            "last_at": answers.optional(profile["last_purchase_at"]),
            "spent": profile["spent"],
            "currency": profile["currency"],
            "overdue": profile["overdue"],
            "recency": profile["recency_score"],
            "frequency": profile["frequency_score"],
            "monetary": profile["monetary_score"],
        },
        "rfm": profile["rfm"],
        "traits": msgspec.Raw(profile["traits"].encode()),
    }
