"""What the OpenAPI document says of the figures of touchpoints and channels, with an example of each."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, Field, create_model

from percorso.analytics.intervals import Interval
from percorso.http.documents import examples
from percorso.http.documents.base import like
from percorso.http.documents.examples import Example
from percorso.http.documents.operations import TouchpointDocument
from percorso.interaction import Channel

_FROM: Final = "2026-10-21T10:00:00.000Z"
_TO: Final = "2026-11-20T10:00:00.000Z"
_FIGURES: Final[Example] = {
    "interactions": 1240,
    "customers": 861,
    "inbound_share": 0.95,
    "direct": 1240,
    "indirect": 0,
    "direct_share": 1.0,
    "sentiment": {"scored": 400, "mean": -0.12, "felt": 410, "negative_share": 0.31},
    "nps": {"answers": 80, "score": 22.5},
    "csat": {"answers": 120, "score": 0.71},
    "ces": {"answers": 0, "score": None},
    "complaints": 62,
    "complaints_per_100": 5.0,
    "unresolved": 93,
    "unresolved_per_100": 7.5,
    "response_time": {"responses": 310, "p50": 3600.5, "p90": 22310.2, "p99": 86400.1},
    "wait_time": {"measured": 980, "mean": 74.2},
    "handling_time": {"measured": 1100, "mean": 342.0},
    "abandonment": {"offered": 1178, "share": 0.06},
    "costs": {},
}
_SAME: Final[Example] = {"before": None, "difference": None, "significant": None, "test": None}
_COUNT: Final[Example] = {"before": 1100, "difference": 140, "significant": None, "test": None}
_NONE: Final[Example] = {"before": 0, "difference": 0, "significant": None, "test": None}
_SHARE: Final[Example] = {
    "before": 0.25, "difference": 0.06, "significant": True, "test": "two-proportion z-test",
}  # fmt: skip
_MEAN: Final[Example] = {"before": -0.05, "difference": -0.07, "significant": False, "test": "Welch's t-test"}
_TIME: Final[Example] = {
    "before": 3302.1, "difference": 298.4, "significant": False, "test": "Welch's t-test of logarithms",
}  # fmt: skip
_CHANGE: Final[Example] = {
    "interactions": _COUNT,
    "customers": _COUNT,
    "inbound_share": _SHARE,
    "direct": _COUNT,
    "indirect": _NONE,
    "direct_share": _SAME,
    "sentiment": {"scored": _COUNT, "mean": _MEAN, "felt": _COUNT, "negative_share": _SHARE},
    "nps": {"answers": _COUNT, "score": _MEAN},
    "csat": {"answers": _COUNT, "score": _SHARE},
    "ces": {"answers": _NONE, "score": _SAME},
    "complaints": _COUNT,
    "complaints_per_100": _SHARE,
    "unresolved": _COUNT,
    "unresolved_per_100": _SHARE,
    "response_time": {"responses": _COUNT, "p50": _TIME, "p90": _SAME, "p99": _SAME},
    "wait_time": {"measured": _COUNT, "mean": _MEAN},
    "handling_time": {"measured": _COUNT, "mean": _MEAN},
    "abandonment": {"offered": _COUNT, "share": _SHARE},
}
_SAID: Final[Example] = {
    "from": _FROM,
    "to": _TO,
    "as_of": "2026-11-20T09:05:14.200Z",
    "response_times_as_of": "2026-11-20T09:05:12.700Z",
    "errors": {"customers": 0.023, "response_times": 0.0196},
}
_BEFORE: Final[Example] = {"before": {"from": "2026-09-21T10:00:00.000Z", "to": _FROM}}
_HEAT: Final = [[hour * day % 7 for hour in range(24)] for day in range(7)]
TOUCHPOINTS: Final[Example] = _SAID | _BEFORE | {
    "items": [examples.TOUCHPOINT | _FIGURES | {"change": _CHANGE}], "next_cursor": None,
}  # fmt: skip
STATS: Final[Example] = _SAID | {
    "slug": "support-line",
    "interval": "month",
    "tz": "Europe/Rome",
    "by": "agent",
    "total": _FIGURES,
    "groups": [_FIGURES | {"value": "agent-12", "other": False}],
    "items": [_FIGURES | {"value": "agent-12", "other": False, "start": "2026-11-01T00:00:00+01:00"}],
}
CHANNELS: Final[Example] = _SAID | _BEFORE | {
    "tz": "Europe/Rome",
    "total": _FIGURES | {"change": _CHANGE, "heat_map": _HEAT},
    "channels_used": {"sampled": 4096, "one": 0.61, "two": 0.27, "three_or_more": 0.12},
    "items": [_FIGURES | {"channel": "phone", "change": _CHANGE, "heat_map": _HEAT}],
}  # fmt: skip


class Change(BaseModel):
    """How a figure differs from that of the period before."""

    before: float | None = Field(description="The figure of the period before; null where there was none.")
    difference: float | None = Field(description="How much more it is now.")
    significant: bool | None = Field(
        description="Whether the difference is more than chance: the p-value of the test is below 0.05. Null where "
        "there is no test for the figure, or too little to test."
    )
    test: str | None = Field(
        description="`two-proportion z-test` for shares (where at least five cases with and five without are to be "
        "expected in each period), `Welch's t-test` for means (by the normal approximation, with at least 30 values in "
        "each period), `Welch's t-test of logarithms` for what response time is typical."
    )


class SentimentFigures(BaseModel):
    """How customers felt."""

    scored: int = Field(description="Interactions with a sentiment that has a score.")
    mean: float | None = Field(description="The mean of the scores, from -1 to 1.")
    felt: int = Field(description="Interactions with a sentiment that has a score or a label.")
    negative_share: float | None = Field(
        description="Of those `felt`, the share that is labelled negative or, without a label, scored below zero."
    )


class NpsFigures(BaseModel):
    """Whether customers would recommend us."""

    answers: int = Field(description="Feedback with the metric `nps`, brought to the scale of 0 to 10.")
    score: float | None = Field(
        description="The percentage of answers of 9 and 10 less that of 0 to 6: from -100 to 100."
    )


class CsatFigures(BaseModel):
    """How satisfied customers are."""

    answers: int = Field(description="Feedback with the metric `csat`.")
    score: float | None = Field(
        description="The share of answers in the top 40 % of their scale, such as 4 and 5 of 5."
    )


class CesFigures(BaseModel):
    """How easy it was."""

    answers: int = Field(description="Feedback with the metric `ces`.")
    score: float | None = Field(description="The mean of the answers, brought to the scale of 1 to 7; high is easy.")


class ResponseTimeFigures(BaseModel):
    """How long customers waited for an answer, in seconds; within `errors.response_times` of a time of that rank."""

    responses: int = Field(description="Contacts by customers that were answered, and when is known.")
    p50: float | None = Field(description="Half of the answers took this long or less (s).")
    p90: float | None = Field(description="Nine in ten took this long or less (s).")
    p99: float | None = Field(description="All but one in a hundred took this long or less (s).")


class WaitTimeFigures(BaseModel):
    """How long customers waited in queues."""

    measured: int = Field(description="Interactions whose details say `wait_seconds`.")
    mean: float | None = Field(description="The mean of these (s).")


class HandlingTimeFigures(BaseModel):
    """How long interactions took."""

    measured: int = Field(description="Interactions whose duration is known.")
    mean: float | None = Field(description="The mean duration (s).")


class AbandonmentFigures(BaseModel):
    """How many gave up."""

    offered: int = Field(description="Inbound calls, video calls and chats: those that can be abandoned.")
    share: float | None = Field(description="Of these, the share with the outcome `abandoned`.")


class _Counted(BaseModel):
    """What happened."""

    interactions: int = Field(description="How many interactions there were.")
    customers: int = Field(
        description="How many distinct customers there were, those merged counting as one: an estimate with the "
        "standard error that `errors.customers` says, and nearly exact for a few hundred."
    )
    inbound_share: float | None = Field(description="The share of interactions that customers began.")
    direct: int = Field(description="Interactions between customers and the organisation itself.")
    indirect: int = Field(description="Those through something else: a review read, a page, a poster.")
    direct_share: float | None = Field(description="The share of interactions that are direct.")
    sentiment: SentimentFigures
    nps: NpsFigures
    csat: CsatFigures
    ces: CesFigures
    complaints: int = Field(description="Interactions that are complaints.")
    complaints_per_100: float | None = Field(description="Complaints per 100 interactions.")
    unresolved: int = Field(description="Interactions with the resolution unresolved, escalated or follow_up.")
    unresolved_per_100: float | None = Field(description="Unresolved ones per 100 interactions.")
    response_time: ResponseTimeFigures
    wait_time: WaitTimeFigures
    handling_time: HandlingTimeFigures
    abandonment: AbandonmentFigures


class _Figures(_Counted):
    costs: dict[str, float] = Field(description="What it cost by currency (ISO 4217), where that was given.")


def _changes(model: type[BaseModel], name: str) -> type[BaseModel]:
    """The changes of all figures of a model."""
    members: dict[str, Any] = {}
    for member, figure in model.model_fields.items():
        of = figure.annotation
        if isinstance(of, type) and issubclass(of, BaseModel):
            members[member] = _changes(of, f"{of.__name__.removesuffix('Figures')}Changes"), ...
        else:
            members[member] = Change, Field(description=figure.description)
    return create_model(name, __doc__=model.__doc__, **members)


if TYPE_CHECKING:

    class FigureChanges(BaseModel):
        """How each figure differs from that of the period before."""

else:
    FigureChanges = _changes(_Counted, "FigureChanges")


class _Changing(_Figures):
    change: FigureChanges = Field(description="How each figure differs from that of the period before.")


class Period(BaseModel):
    """A range of whole hours of UTC."""

    from_: AwareDatetime = Field(alias="from", description="Inclusive.")
    to: AwareDatetime = Field(description="Exclusive.")


class Errors(BaseModel):
    """How exact the figures are that are estimates; all others are exact."""

    customers: float = Field(description="The relative standard error of `customers`.")
    response_times: float = Field(description="How far a percentile may be from a time of that rank, relatively.")


class _Answer(Period):
    as_of: AwareDatetime | None = Field(
        description="All that was committed before this moment is in it; null until the first pass over what is "
        "stored is complete."
    )
    response_times_as_of: AwareDatetime | None = Field(
        description="The same of `response_time`: whether a contact was answered is found with the profile of its "
        "customer, seconds after it was counted."
    )
    errors: Errors


class TouchpointPerformance(_Changing, TouchpointDocument):
    """A touchpoint, and what happened there."""

    model_config = like(TOUCHPOINTS["items"][0])


class TouchpointFigures(_Answer):
    """A page of touchpoints with their figures."""

    model_config = like(TOUCHPOINTS)

    before: Period = Field(description="The period that `change` compares with: of the same length, just before.")
    items: list[TouchpointPerformance]
    next_cursor: str | None


class GroupFigures(_Figures):
    """The figures of one value of `by`."""

    value: str | None = Field(description="The value; null for interactions that do not say it, and for all others.")
    other: bool = Field(description="Whether these are all values that are not among the `top`, summed.")


class PointFigures(_Figures):
    """The figures of one interval; zero or null where nothing happened."""

    start: AwareDatetime = Field(description="When the interval begins, in the time zone.")
    value: str | None = Field(None, description="With `by`: the value, as in `groups`.")
    other: bool | None = Field(None, description="With `by`: as in `groups`.")


class TouchpointStats(_Answer):
    """How a touchpoint performs over time."""

    model_config = like(STATS)

    slug: str
    interval: Interval
    tz: str
    by: str | None
    total: _Figures = Field(description="The figures of the whole period.")
    groups: list[GroupFigures] | None = Field(None, description="With `by`: those of each value; most used first.")
    items: list[PointFigures] = Field(description="Those of each interval; with `by`, one value after the other.")


HeatMap = Annotated[
    list[list[int]],
    Field(description="Interactions by weekday (7, from Monday) and hour of the day (24), in the time zone."),
]


class ChannelPerformance(_Changing):
    """What happened on a channel."""

    channel: Channel
    heat_map: HeatMap


class AllChannels(_Changing):
    """What happened on all channels together."""

    heat_map: HeatMap


class ChannelsUsed(BaseModel):
    """On how many channels customers meet the organisation within the period."""

    sampled: int = Field(
        description="Of how many customers this was found out: all, or a sample of 4096 chosen by chance, so that the "
        "standard error of a share is at most 0.8 %."
    )
    one: float | None = Field(description="The share of customers who use a single channel; null where there are none.")
    two: float | None = Field(description="The share of those who use two.")
    three_or_more: float | None = Field(description="The share of those who use three or more.")


class ChannelFigures(_Answer):
    """How each channel performs."""

    model_config = like(CHANNELS)

    before: Period = Field(description="The period that `change` compares with: of the same length, just before.")
    tz: str
    total: AllChannels
    channels_used: ChannelsUsed
    items: list[ChannelPerformance] = Field(description="The channels that were used; those used most first.")
