"""What the OpenAPI document says of subscriptions of the feed: their shapes, with an example of each."""

from typing import Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents.base import like
from percorso.http.documents.examples import Example
from percorso.http.documents.feed import CURSOR
from percorso.http.feed_filter import FeedFilter

_AT: Final = "2026-11-20T09:00:01.120Z"
_SECRET: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # noqa: S105 - an example
SUBSCRIPTION: Final[Example] = {
    "id": "0e2ffa5e-7a3b-4a56-9d53-2f4d7cf2d8a1",
    "name": "CRM",
    "url": "https://crm.example.com/percorso",
    "events": ["interaction.stored"],
    "filter": {"channel": ["phone"]},
    "key_id": "6f7c6a52-7f5e-4f0e-8a65-3a3f2f8b8a11",
    "created_at": _AT,
    "state": "active",
    "paused": None,
    "after": CURSOR,
    "lag_seconds": 0.0,
    "failures": 0,
    "failing_since": None,
    "next_try_at": None,
    "last_taken_at": _AT,
    "set_aside": 0,
    "dead_letters": 0,
    "earlier_secret_until": None,
}
_LETTER: Final[Example] = {
    "id": "1-1052-0",
    "event": "interaction.stored",
    "at": _AT,
    "before": CURSOR,
    "first_failed_at": "2026-11-20T09:00:02.000Z",
    "tries": 3,
    "status": 422,
    "next_at": "2026-11-20T09:00:45.000Z",
}


class SubscriptionDocument(BaseModel):
    """A subscription of the feed, and how it does."""

    model_config = like(SUBSCRIPTION)

    id: UUID
    name: str | None
    url: str
    events: list[str] = Field(description="The types of events it is told of; none: of all.")
    filter: FeedFilter
    key_id: UUID = Field(description="The key that made it, with which it ends.")
    created_at: AwareDatetime
    state: Literal["active", "failing", "paused"]
    paused: Literal["by_hand", "gone", "expired", "full"] | None = Field(
        description="Why nothing is delivered: `by_hand`; `gone`: it answered 410; `expired`: what comes next is no "
        "longer kept; `full`: too much was not taken."
    )
    after: str = Field(description="The cursor of the feed that it stands at.")
    lag_seconds: float = Field(description="How long what comes next has been waiting.")
    failures: int = Field(description="How often it failed since it last took something.")
    failing_since: AwareDatetime | None
    next_try_at: AwareDatetime | None
    last_taken_at: AwareDatetime | None
    set_aside: int = Field(description="Events that were not taken and are tried again on their own.")
    dead_letters: int = Field(description="Events that were given up.")
    earlier_secret_until: AwareDatetime | None


class NewSubscription(SubscriptionDocument):
    """A new subscription; `secret` is shown this once."""

    model_config = like(SUBSCRIPTION | {"secret": _SECRET})

    secret: str = Field(description="Deliveries are signed with it, as Standard Webhooks says.")


class Subscriptions(BaseModel):
    """Subscriptions, the oldest first."""

    model_config = like({"items": [SUBSCRIPTION], "next_cursor": None})

    items: list[SubscriptionDocument]
    next_cursor: None = None


class NewSecret(BaseModel):
    """The new secret of a subscription; it is shown this once."""

    model_config = like({"secret": _SECRET, "earlier_secret_until": "2026-11-21T09:00:01.120Z"})

    secret: str
    earlier_secret_until: AwareDatetime


class Tested(BaseModel):
    """What came of a test."""

    model_config = like({"taken": True, "status": 204})

    taken: bool
    status: int | None = Field(description="Of the answer; null where there was none.")


class ReplayBegun(BaseModel):
    """What is delivered again."""

    model_config = like({"dead_letters": 3, "after": None})

    dead_letters: int | None = Field(description="How many that were given up are tried again.")
    after: str | None = Field(description="The cursor from which it goes on.")


class DeadLetter(BaseModel):
    """An event that was not taken."""

    model_config = like(_LETTER)

    id: str = Field(description="The event's id in the feed, and its `webhook-id`.")
    event: str
    at: AwareDatetime
    before: str = Field(description="With this as `after` and `limit=1` the feed shows it.")
    first_failed_at: AwareDatetime
    tries: int
    status: int | None = Field(description="Of the last answer; null where there was none.")
    next_at: AwareDatetime | None = Field(description="When it is tried again; null: it was given up.")


class DeadLetters(BaseModel):
    """A page of what was not taken."""

    model_config = like({"items": [_LETTER], "next_cursor": None})

    items: list[DeadLetter]
    next_cursor: str | None
