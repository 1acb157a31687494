"""The filters of customers: as parameters of a search, and as JSON in a segment."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from percorso.http.parameters import QueryMoment
from percorso.ingest.normalise import beginning
from percorso.interaction import IDENTIFIER_KIND_PATTERN, KIND_PATTERN, Channel
from percorso.measures.relationship import State
from percorso.measures.rfm import RfmClass
from percorso.queries.profiles import Filters

_MOST: Final = 30
"""Values that one filter may have."""
_SPANS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}
SPAN_PATTERN: Final = r"^[1-9][0-9]{0,3}[hd]$"
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
    if not colon or not re.fullmatch(KIND_PATTERN, name):
        raise PydanticCustomError("trait", "must be a trait's name and its value, such as city:Milano")
    return given


def _is_span(given: Any) -> Any:
    if not isinstance(given, str) or not re.fullmatch(SPAN_PATTERN, given):
        raise PydanticCustomError("span", "must be a number of days or hours from 1 to 9999, such as 90d or 12h")
    return given


def _span(given: str) -> timedelta:
    return int(given[:-1]) * _SPANS[given[-1]]


Span = Annotated[str, BeforeValidator(_is_span), Field(pattern=SPAN_PATTERN, examples=["90d"])]
TraitIs = Annotated[str, Field(max_length=64 + 1 + 256), AfterValidator(_trait)]


class CustomerFilters(BaseModel):
    """What customers are narrowed to; all that is given must hold."""

    model_config = ConfigDict(frozen=True)

    identifier: Annotated[str, Field(max_length=320), AfterValidator(_identifier)] | None = Field(
        None,
        description="Who has an identifier of this kind that begins so, as `kind:beginning`. They come in the order of "
        "these identifiers, those who have no profile yet too.",
        examples=["email:an"],
    )
    trait: tuple[TraitIs, ...] = Field(
        (),
        max_length=_MOST,
        description="Who has this trait, as `name:value`: text of at most 256 characters, a number, `true` or `false`, "
        "or a list that has it. May be repeated, then all must hold.",
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
            traits=self.trait,
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


def stored(filter_: str, now: datetime) -> Filters:
    """The filters of a segment as it is stored, with spans of time counted back from `now`."""
    return SegmentFilter.model_validate_json(filter_).at(now)
