"""What requests about subscriptions of the feed say."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from percorso.http.feed import NOW
from percorso.http.feed_filter import MOST, Event, FeedFilter
from percorso.workers import callbacks

_Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=callbacks.MOST_URL,
        description="The http or https URL that events are posted to.",
        examples=["https://crm.example.com/percorso"],
    ),
]
_Name = Annotated[str | None, Field(max_length=128, description="What it is for.", examples=["CRM"])]
_Events = Annotated[
    tuple[Event, ...], Field(max_length=MOST, description="The types of events to be told of; none: of all.")
]
_Filter = Annotated[FeedFilter, Field(description="What interactions must be: all that is given must hold.")]


class SubscriptionBody(BaseModel):
    """What a new subscription is to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "url": "https://crm.example.com/percorso",
                    "name": "CRM",
                    "events": ["interaction.stored"],
                    "filter": {"channel": ["phone"]},
                }
            ]
        },
    )

    url: _Url
    name: _Name = None
    events: _Events = ()
    filter: _Filter = FeedFilter()
    after: str = Field(
        NOW,
        max_length=512,
        description="Where to begin: `now`, `oldest`, or a cursor of the feed, so that a reader of the feed can change "
        "over without a gap.",
    )


class SubscriptionPatch(BaseModel):
    """What is to be otherwise; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"paused": True}]})

    url: _Url = ""
    name: _Name = None
    events: _Events = ()
    filter: _Filter = FeedFilter()
    paused: bool = Field(
        default=False, description="`true`: deliver nothing until it is `false`; then it goes on where it was."
    )


class RotationBody(BaseModel):
    """For how long the secret before is to be used too."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_hours": 24}]})

    overlap_hours: int = Field(
        24, ge=0, le=168, description="For so long deliveries are signed with the secret before, too."
    )


class ReplayBody(BaseModel):
    """What is to be delivered again: one of the two."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dead_letters": True}]})

    after: str | None = Field(
        None, max_length=512, description="Go on from here: a cursor of the feed, `oldest`, or `now` to leave out."
    )
    dead_letters: bool = Field(default=False, description="Try again what was given up.")
