"""Watch rules as JSON: what may stand in one, checked with care, and the form in which it is stored."""

from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from percorso.interaction import (
    Channel,
    Direction,
    Function,
    Kind,
    Metric,
    Outcome,
    Resolution,
    SentimentLabel,
    Status,
    Topic,
    TouchpointSlug,
)
from percorso.measures.watch_rules import (
    LONGEST,
    MOST_COUNT,
    MOST_STEPS,
    SPAN_PATTERN,
    Rule,
    Shared,
    is_span,
    rule_of,
    span_ms,
)

_MOST: Final = 30
"""Words that one member of a match may have."""
_DAY_MS: Final = 86_400_000
_MOST_NUMBER: Final = 2**53
"""Up to here, whole numbers are the same wherever JSON is read (RFC 8259, section 6)."""
_LONGEST_TEXT: Final = 256
"""Characters of an attribute that is compared."""


def _span(given: str) -> str:
    if not is_span(given):
        raise PydanticCustomError(
            "span", "must be a number of s, m, h or d, such as 90s, 15m, 4h or 7d, and at most {days} days",
            {"days": LONGEST.days},
        )  # fmt: skip
    return given


def _listed(given: Any) -> Any:
    return given if isinstance(given, list) else [given]


def _scalar(given: Any) -> Any:
    if isinstance(given, str):
        taken = len(given) <= _LONGEST_TEXT
    else:
        taken = isinstance(given, bool | int | float) and abs(given) <= _MOST_NUMBER
    if not taken:
        detail = (
            f"must be text of at most {_LONGEST_TEXT} characters, a number no further from 0 than 2^53, true or false"
        )
        raise PydanticCustomError("scalar", "{reason}", {"reason": detail})
    return given


class _OneOrSeveral:
    """Metadata of a list of so many words, which one word may stand for."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            _listed, handler(Annotated[source, Field(min_length=1, max_length=self._most)])
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed]}


_several: Final = _OneOrSeveral()

Span = Annotated[str, AfterValidator(_span), Field(pattern=SPAN_PATTERN, examples=["4h"])]
Channels = Annotated[list[Channel], _several]
Kinds = Annotated[list[Kind], _several]
Touchpoints = Annotated[list[TouchpointSlug], _several]
Functions = Annotated[list[Function], _several]
Directions = Annotated[list[Direction], _several]
Statuses = Annotated[list[Status], _several]
Outcomes = Annotated[list[Outcome], _several]
Resolutions = Annotated[list[Resolution], _several]
Topics = Annotated[list[Topic], _several]
Labels = Annotated[list[SentimentLabel], _several]
Metrics = Annotated[list[Metric], _several]
Same = Annotated[list[Shared], _OneOrSeveral(most=3)]
Scalar = Annotated[
    bool | int | float | str,
    PlainValidator(_scalar),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {"type": "number", "minimum": -_MOST_NUMBER, "maximum": _MOST_NUMBER},
                {"type": "string", "maxLength": _LONGEST_TEXT},
            ]
        }
    ),
]
Score = Annotated[float, Field(ge=-_MOST_NUMBER, le=_MOST_NUMBER)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Scores(_Part):
    min: float | None
    max: float | None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("range", "`min` must not be greater than `max`")
        return self


class SentimentMatch(_Scores):
    """How the customer felt: one of these labels, and a score from `min` to `max`, both included."""

    label: Labels | None = None
    min: Score | None = Field(None, ge=-1, le=1)
    max: Score | None = Field(None, ge=-1, le=1)


class FeedbackMatch(_Scores):
    """What the customer answered: to one of these questions, with a score from `min` to `max` as it was given."""

    metric: Metrics | None = None
    min: Score | None = None
    max: Score | None = None


class WatchMatch(_Part):
    """What an interaction must be: all that is said must hold, and of several words one. `{}` is any interaction."""

    channel: Channels | None = None
    kind: Kinds | None = None
    touchpoint: Touchpoints | None = Field(
        None,
        description="The slug that it was sent with, or the one that this counts as since touchpoints were merged.",
    )
    function: Functions | None = None
    direction: Directions | None = None
    status: Statuses | None = None
    outcome: Outcomes | None = None
    resolution: Resolutions | None = None
    topic: Topics | None = Field(None, description="One of its topics, without regard to their case.")
    complaint: bool | None = Field(None, description="Whether it is a complaint, as the summary counts them.")
    reaches_out: bool | None = Field(
        None, description="Whether the customer turned to the organisation with something to say."
    )
    sentiment: SentimentMatch | None = None
    feedback: FeedbackMatch | None = Field(None, description="One of its answers must fit.")
    attributes: dict[Annotated[str, Field(min_length=1, max_length=128)], Scalar] | None = Field(
        None, min_length=1, max_length=10, description="Members of `attributes` that must be equal."
    )


class WatchStep(_Part):
    """So many interactions that fit a match."""

    match: WatchMatch
    count: int = Field(1, ge=1, le=MOST_COUNT, description="How many interactions the step takes.")
    within: Span | None = Field(
        None,
        description="Of the first step: the longest time from its first interaction to its last, given with a `count` "
        "above 1 alone. Of a later one, and required there: the longest time from the last interaction of the step "
        "before to the last of this one.",
    )


class WatchAbsent(_Part):
    """What must not follow the last interaction of the last step."""

    match: WatchMatch
    within: Span = Field(description="For how long; what is at its very end is still in time.")
    same: Same | None = Field(
        None,
        description="Only what has this in common with the last interaction counts; what that does not have does not "
        "narrow.",
    )
    grace: Span | None = Field(
        None, description="How much longer to wait for what occurred in time and is told late; at most 1 day."
    )

    @field_validator("grace")
    @classmethod
    def _short(cls, grace: str | None) -> str | None:
        if span_ms(grace) > _DAY_MS:
            raise PydanticCustomError("span", "must be at most 1 day")
        return grace


class WatchRule(_Part):
    """A pattern over the interactions of one customer.

    The steps are taken in order, each by interactions later in the journey than those of the step before. An
    interaction is part of one match at most; a match is made with the first interaction that completes one, of the
    latest interactions that fit. It fires at once, or with `then_absent` where nothing of the kind followed in time.
    """

    when: list[WatchStep] = Field(min_length=1, max_length=MOST_STEPS, description="The steps.")
    same: Same | None = Field(
        None,
        description="What all interactions of the steps have in common; `thread` is the case or the conversation.",
    )
    then_absent: WatchAbsent | None = None

    @field_validator("when")
    @classmethod
    def _spans(cls, when: list[WatchStep]) -> list[WatchStep]:
        first, *later = when
        if (first.within is None) != (first.count == 1):
            detail = "the first step must say `within` where its `count` is above 1, and only there"
            raise PydanticCustomError("within", "{reason}", {"reason": detail})
        if any(step.within is None for step in later):
            raise PydanticCustomError("within", "each step after the first must say `within`")
        return when

    @model_validator(mode="after")
    def _short(self) -> Self:
        rule = self.rule()
        if rule.before_ms + rule.after_ms > LONGEST.days * _DAY_MS:
            raise PydanticCustomError("span", "all spans together must be at most {days} days", {"days": LONGEST.days})
        return self

    def stored(self) -> str:
        """As it is stored: JSON with lists throughout, and nothing that is not said."""
        return self.model_dump_json(exclude_none=True)

    def rule(self) -> Rule:
        """As it is looked for."""
        return rule_of(self.stored())
