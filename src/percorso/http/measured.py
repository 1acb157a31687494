"""What the OpenAPI document says of the summary and of episodes: their shapes, with an example of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import ConfigDict, Field, with_config

from percorso.http.examples import Example
from percorso.measures import Episode, Summary

_Customer = Annotated[UUID, Field(description="The present id of the customer.")]
_Truncated = Annotated[
    datetime | None,
    Field(
        description="Only the latest 100,000 interactions are looked at: where there are more, the moment before which "
        "nothing was. Null: all were."
    ),
]

SUMMARY: Final[Example] = {}
EPISODES: Final[Example] = {}


@with_config(ConfigDict(json_schema_extra={"examples": [SUMMARY]}))
@dataclass(frozen=True, slots=True)
class CustomerSummary(Summary):
    """What there is to know of a customer."""

    customer_id: _Customer
    truncated_before: _Truncated


@with_config(ConfigDict(json_schema_extra={"examples": [EPISODES]}))
@dataclass(frozen=True, slots=True)
class Episodes:
    """A page of a customer's episodes."""

    customer_id: _Customer
    truncated_before: _Truncated
    items: list[Episode]
    next_cursor: Annotated[str | None, Field(description="The `cursor` of the next page; null on the last.")]
