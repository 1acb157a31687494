"""What the OpenAPI document says of watches: their shapes, with an example of each."""

from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents.base import like
from percorso.http.documents.examples import CUSTOMER_ID, Example
from percorso.http.watch_rules import WatchRule

_INTERACTION: Final = "019e5f29-7d80-8a41-9c41-5a0f3e7b6d24"
_AT: Final = "2026-11-20T13:00:00.000Z"
RULE: Final[Example] = {
    "when": [{"match": {"complaint": True}}],
    "then_absent": {"match": {"direction": "outbound"}, "within": "4h", "same": "conversation"},
}
_STORED: Final[Example] = {
    "when": [{"match": {"complaint": True}, "count": 1}],
    "then_absent": {"match": {"direction": ["outbound"]}, "within": "4h", "same": ["conversation"]},
}
WATCH: Final[Example] = {
    "name": "complaint-unanswered",
    "description": "Nobody answered a complaint for four hours",
    "enabled": True,
    "version": 1,
    "rule": _STORED,
    "since": "2026-11-20T08:15:00.000Z",
    "created_at": "2026-11-20T08:15:00.000Z",
    "updated_at": "2026-11-20T08:15:00.000Z",
    "updated_by": "operations",
}
ONE_WATCH: Final[Example] = WATCH | {
    "versions": [{"version": 1, "rule": _STORED, "made_at": "2026-11-20T08:15:00.000Z", "made_by": "operations"}]
}
WATCHES: Final[Example] = {"items": [WATCH], "next_cursor": None}
FIRING: Final[Example] = {
    "firing_id": "5f0c2d9e-3b1a-4c7d-8e6f-0a1b2c3d4e5f",
    "watch": "complaint-unanswered",
    "version": 1,
    "customer_id": CUSTOMER_ID,
    "interactions": [_INTERACTION],
    "at": _AT,
    "fired_at": "2026-11-20T13:00:00.412Z",
}
FIRINGS: Final[Example] = {"items": [FIRING], "next_cursor": None}
TRIAL: Final[Example] = {
    "from": "2026-10-21T09:00:00.000Z",
    "to": "2026-11-20T09:00:00.000Z",
    "as_of": "2026-11-20T09:00:00.000Z",
    "looked_through": 10_000,
    "truncated": True,
    "customers": 41,
    "firings": 44,
    "waiting": 2,
    "examples": [{"customer_id": CUSTOMER_ID, "at": _AT, "interactions": [_INTERACTION]}],
}


class WatchDocument(BaseModel):
    """A watch: a pattern over what one customer goes through, which fires once for each time it comes true."""

    model_config = like(WATCH)

    name: str
    description: str | None
    enabled: bool = Field(description="Whether it fires.")
    version: int = Field(description="Grows with every change of the rule.")
    rule: WatchRule
    since: AwareDatetime = Field(description="It fires where the last interaction of its steps occurred no earlier.")
    created_at: AwareDatetime
    updated_at: AwareDatetime
    updated_by: str = Field(description="The name of the key.")


class WatchVersion(BaseModel):
    """A rule that a watch had."""

    version: int
    rule: WatchRule
    made_at: AwareDatetime
    made_by: str = Field(description="The name of the key.")


class OneWatch(WatchDocument):
    """A watch, with the rules that it had."""

    model_config = like(ONE_WATCH)

    versions: list[WatchVersion] = Field(description="The latest first, the present one included; at most 100.")


class Watches(BaseModel):
    """A page of watches, by name."""

    model_config = like(WATCHES)

    items: list[WatchDocument]
    next_cursor: str | None


class WatchFiring(BaseModel):
    """What a watch fired."""

    model_config = like(FIRING)

    firing_id: UUID = Field(description="Made of the watch, the version of its rule and the interactions.")
    watch: str = Field(description="The name of the watch.")
    version: int = Field(description="Of its rule.")
    customer_id: UUID | None = Field(description="Whose the last of the interactions is now.")
    interactions: list[UUID] = Field(description="The interactions that the steps were taken by, in order.")
    at: AwareDatetime = Field(description="When it came true: with the last, or at the end of the span that followed.")
    fired_at: AwareDatetime = Field(description="When that was found out.")


class WatchFirings(BaseModel):
    """A page of what a watch fired, the latest first."""

    model_config = like(FIRINGS)

    items: list[WatchFiring]
    next_cursor: str | None


class TrialExample(BaseModel):
    """What would have fired."""

    customer_id: UUID
    at: AwareDatetime
    interactions: list[UUID]


class WatchTrial(BaseModel):
    """What a rule would have fired."""

    model_config = like(TRIAL)

    from_: AwareDatetime = Field(alias="from")
    to: AwareDatetime
    as_of: AwareDatetime = Field(description="What was to follow by then is known; the rest waits.")
    looked_through: int = Field(description="Customers looked through, in the order of their ids: a fair sample.")
    truncated: bool = Field(description="There are more customers than `limit`, or than there was time for.")
    customers: int = Field(description="Those of whom something would have fired.")
    firings: int
    waiting: int = Field(description="Matches of which it is not known yet whether something follows.")
    examples: list[TrialExample] = Field(description="The first of them; at most 20.")
