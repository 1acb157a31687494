"""What the OpenAPI document says of found customers and of segments: their shapes, with an example of each."""

from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from percorso.http.documents.customers import CustomerIdentifier
from percorso.http.documents.examples import CUSTOMER, CUSTOMER_ID, Example
from percorso.http.filtering import CustomerFilters
from percorso.measures.relationship import State
from percorso.measures.rfm import RfmClass

_AT: Final = "2026-11-20T09:05:14.200Z"
_AS_OF: Final = Field(
    description="All that was committed before this moment is in it; null until every customer has a first profile."
)
_FOUND: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "identifiers": CUSTOMER["identifiers"],
    "computed_at": _AT,
    "first_contact_at": "2026-03-02T08:15:00.000Z",
    "last_contact_at": "2026-11-20T09:00:00.000Z",
    "interactions": 23,
    "channels": ["email", "phone"],
    "relationship": "watch",
    "relationship_score": -15,
    "open_complaints": 1,
    "buying": {
        "purchases": 4,
        "last_at": "2026-09-01T16:20:00.000Z",
        "spent": 312.5,
        "currency": "EUR",
        "overdue": False,
        "recency": 3,
        "frequency": 4,
        "monetary": 4,
    },
    "rfm": "loyal",
    "traits": {"city": "Milano"},
}
FOUND: Final[Example] = {"items": [_FOUND], "next_cursor": None, "as_of": _AT}
FILTER: Final[Example] = {"channel": ["phone"], "last_contact_before": "180d", "rfm": ["loyal", "champions"]}
SEGMENT: Final[Example] = {
    "name": "silent-regulars",
    "description": "Good customers who have not called for half a year",
    "filter": FILTER,
    "created_at": "2026-03-02T08:15:00.000Z",
    "updated_at": _AT,
    "updated_by": "crm-connector",
}
SEGMENTS: Final[Example] = {"items": [SEGMENT], "next_cursor": None}
MEMBERSHIP: Final[Example] = {"customer_id": CUSTOMER_ID, "member": True, "as_of": _AT}


def _like(example: Example) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class FoundBuying(BaseModel):
    """How a customer buys, and in which fifth of all buyers that is, 5 being the best; null where too few bought."""

    purchases: int
    last_at: AwareDatetime | None
    spent: float | None = Field(description="In the currency of most purchases.")
    currency: str | None = Field(description="ISO 4217; `XXX` where none was given.")
    overdue: bool | None = Field(description="Whether a purchase was to be expected by now; null: not known.")
    recency: int | None
    frequency: int | None
    monetary: int | None


class FoundCustomer(BaseModel):
    """A customer that was found. Where there is no profile yet, `computed_at` and all that follows is null."""

    customer_id: UUID
    identifiers: list[CustomerIdentifier] = Field(description="Strong ones and older ones first; at most 20.")
    computed_at: AwareDatetime | None = Field(description="When this is what the summary said.")
    first_contact_at: AwareDatetime | None
    last_contact_at: AwareDatetime | None
    interactions: int | None
    channels: list[str] | None
    relationship: State | None
    relationship_score: int | None
    open_complaints: int | None
    buying: FoundBuying | None
    rfm: RfmClass | None = Field(description="The class of buyers, from the three fifths.")
    traits: dict[str, Any] | None


class FoundCustomers(BaseModel):
    """A page of customers."""

    model_config = _like(FOUND)

    items: list[FoundCustomer]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")
    as_of: AwareDatetime | None = _AS_OF


class SegmentDocument(BaseModel):
    """A segment: a filter of customers that has a name."""

    model_config = _like(SEGMENT)

    name: str
    description: str | None
    filter: CustomerFilters = Field(description="As it was given.")
    created_at: AwareDatetime
    updated_at: AwareDatetime
    updated_by: str = Field(description="The name of the key.")


class Segments(BaseModel):
    """A page of segments, by name."""

    model_config = _like(SEGMENTS)

    items: list[SegmentDocument]
    next_cursor: str | None


class Membership(BaseModel):
    """Whether a customer is a member of a segment."""

    model_config = _like(MEMBERSHIP)

    customer_id: UUID
    member: bool
    as_of: AwareDatetime | None = _AS_OF
