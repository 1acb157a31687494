"""What the OpenAPI document says of the feed: its shape, with an example of each."""

from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents.base import like
from percorso.http.documents.examples import INTERACTION, Example

_AT: Final = "2026-11-20T09:00:01.120Z"
CURSOR: Final = "EAAAAAEAAAAAAAAEHP____9mZWVk"
_ITEM: Final[Example] = {
    "id": "1-1052-0",
    "event": "interaction.stored",
    "at": _AT,
    "interaction": INTERACTION,
    "revision": 0,
    "cursor": CURSOR,
}
FEED: Final[Example] = {"items": [_ITEM], "next_cursor": CURSOR, "caught_up": True}
EVENTS_SENT: Final[dict[str, Any]] = {
    "type": "string",
    "examples": [f'id: {CURSOR}\nevent: interaction.stored\ndata: {{"id": "1-1052-0", …}}\n\n'],
}


class FeedItem(BaseModel):
    """An event of the feed."""

    model_config = like(_ITEM, open_=True)

    id: str = Field(description="Always the same of the same event, whoever reads it and however often.")
    event: str = Field(
        description="`interaction.stored`, `interaction.changed`, `interaction.deleted`; `interactions.expired`: all "
        "that occurred between `from` and `to` was deleted; `customer.identity_changed`: it was found anew who is who; "
        "`customer.said`: traits or consents were; `watch.fired`: what a watch looks for came true. There may be "
        "others."
    )
    at: AwareDatetime = Field(description="When it was committed, about: the order is that of the items.")
    cursor: str = Field(description="The feed goes on after this event with `after` set to it.")
    interaction: dict[str, Any] | None = Field(
        None, description="What it said after the event; of what is deleted by now its `interaction_id` alone."
    )
    revision: int | None = Field(None, description="How often it had been enriched.")
    customer_ids: list[UUID] | None = Field(None, description="Of events of customers: who they are now.")
    identity_ids: list[UUID] | None = Field(
        None, description="Of events of customers: every id by which they may have been known."
    )
    firing_id: UUID | None = Field(None, description="Of a watch that fired, as what follows: the same for ever.")
    watch: str | None = Field(None, description="The watch's name when it fired.")
    version: int | None = Field(None, description="The version of its rule.")
    interactions: list[UUID] | None = Field(None, description="What it rests on, in the order of the journey.")
    happened_at: AwareDatetime | None = Field(None, description="When it came true: before `at`.")


class Feed(BaseModel):
    """Some of the feed."""

    model_config = like(FEED)

    items: list[FeedItem]
    next_cursor: str = Field(description="What to give as `after` next; always given, and never behind the last one.")
    caught_up: bool = Field(description="Whether this was all there is by now; else ask again at once.")
