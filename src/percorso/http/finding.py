"""Finding customers."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from percorso.errors import InvalidRequest, Problem
from percorso.http import answers
from percorso.http.access import MayRead
from percorso.http.documents.base import answers as documented
from percorso.http.documents.found import FoundCustomers
from percorso.http.filtering import SEGMENT_PATTERN, CustomerFilters, stored
from percorso.http.parameters import Cursor, Limit, Order
from percorso.http.services import Reads
from percorso.queries import followers, profiles, segments
from percorso.queries.cursor import Page
from percorso.queries.profiles import FOLLOWER, Found
from percorso.storage.database import ReadSession

router = APIRouter(prefix="/v1/customers", tags=["Finding customers"])


class Search(CustomerFilters):
    """The parameters of a search."""

    segment: str | None = Field(
        None, max_length=segments.LONGEST_NAME, pattern=SEGMENT_PATTERN, description="Only members of this segment."
    )
    order: Order | None = Field(
        None, description="Latest contact first (`desc`, if nothing is said) or longest ago first (`asc`)."
    )
    limit: Limit = 50
    cursor: Cursor = None


@router.get(
    "",
    summary="Find customers",
    response_class=Response,
    responses=documented(FoundCustomers, 404, says="A page of customers."),
)
async def find_customers(request: Request, _: MayRead, search: Annotated[Search, Query()], session: Reads) -> Response:
    """Find customers by what their profiles say, or by the beginning of an identifier, which gives them in its order.

    Profiles follow what is stored within seconds: all that was committed before `as_of` is in them, and each was what
    the summary said at `computed_at`. `as_of` is null until every customer has a first one. A customer whose last
    contact changes while pages are read may be passed over or come twice; the members of a segment are not.
    """
    now = datetime.now(UTC)
    filters = [search.at(now)]
    if search.segment is not None:
        filters.append(stored((await segments.by_name(session, search.segment))["filter"], now))
    if search.order is not None and any(each.identifier for each in filters):
        detail = "must not be given with an identifier: then customers come in its order"
        raise InvalidRequest("The order cannot be had.", problems=[Problem("/query/order", detail)])
    page = await profiles.page(session, filters, order=search.order or "desc", limit=search.limit, after=search.cursor)
    return await page_of(request, session, page)


async def page_of(request: Request, session: ReadSession, page: Page[Found]) -> Response:
    """A page of customers, and up to when what is said of them holds."""
    as_of = await followers.as_of(session, FOLLOWER)
    return answers.page_response(
        request,
        [_document(found) for found in page.items],
        page.next_cursor,
        as_of=None if as_of is None else answers.moment(as_of),
    )


def _document(found: Found) -> dict[str, Any]:
    identifiers = [
        {name: each[name] for name in ("kind", "value", "strong", "first_seen_at")} for each in found.identifiers
    ]
    document = {"customer_id": found.customer_id, "identifiers": identifiers}
    profile = found.profile
    if profile is None:
        return {**answers.figures(document), **dict.fromkeys(_PROFILE)}
    buying = {name: profile[column] for name, column in _BUYING.items()}
    said = {name: profile[column] for name, column in _PROFILE.items() if column is not None}
    traits = msgspec.Raw(profile["traits"].encode())
    return {**answers.figures(document | said | {"buying": buying}), "traits": traits}


_PROFILE: Final = {
    "computed_at": "computed_at",
    "first_contact_at": "first_at",
    "last_contact_at": "last_at",
    "interactions": "interactions",
    "channels": "channels",
    "relationship": "relationship",
    "relationship_score": "score",
    "open_complaints": "open_complaints",
    "buying": None,
    "rfm": "rfm",
    "traits": None,
}
"""What is said of a customer, and the column of it; None: it is made of others."""
_BUYING: Final = {
    "purchases": "purchases",
    "last_at": "last_purchase_at",
    "spent": "spent",
    "currency": "currency",
    "overdue": "overdue",
    "recency": "recency_score",
    "frequency": "frequency_score",
    "monetary": "monetary_score",
}
