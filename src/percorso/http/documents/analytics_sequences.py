"""What the OpenAPI document says of transitions, paths, funnels and attribution, with an example of each."""

from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, Field

from percorso.analytics.attribution import Model
from percorso.analytics.journeys import By
from percorso.http.documents.base import like
from percorso.http.documents.examples import Example

_SAID: Final[Example] = {
    "from": "2026-10-21T10:00:00.000Z",
    "to": "2026-11-20T10:00:00.000Z",
    "as_of": "2026-11-20T09:05:14.200Z",
    "by": "touchpoint",
}
_COUNTED: Final[Example] = {"interactions": 5200, "customers": 1400}
TRANSITIONS: Final[Example] = _SAID | {"within": "30d"} | _COUNTED | {
    "errors": {"median_gap_seconds": 0.0196, "count": 0},
    "other": {"edges": 118, "count": 2101},
    "items": [
        {"from": "web", "to": "support-line", "count": 620, "customers": 514, "median_gap_seconds": 4010.2},
        {"from": "support-line", "to": "(exit)", "count": 480, "customers": 466, "median_gap_seconds": None},
    ],
}  # fmt: skip
PATHS: Final[Example] = _SAID | {
    "within": "30d", "length": 3, "starts_with": None, "ends_with": "support-line", "through": None,
} | _COUNTED | {
    "paths": 700,
    "errors": {"count": 0},
    "other": {"paths": 41, "count": 580},
    "items": [{"nodes": ["newsletter", "web", "support-line"], "count": 120, "customers": 117, "share": 0.171429}],
}  # fmt: skip
FUNNEL: Final[Example] = _SAID | {"within": "30d", "ordered": True} | _COUNTED | {
    "errors": {"median_seconds": 0.0196},
    "items": [
        {
            "step": "web", "customers": 900, "of_first": 1.0, "of_previous": None, "drop_off": None,
            "median_seconds": None,
        },
        {
            "step": "kind:order_placed", "customers": 270, "of_first": 0.3, "of_previous": 0.3, "drop_off": 630,
            "median_seconds": 86122.4,
        },
    ],
}  # fmt: skip
ATTRIBUTION: Final[Example] = _SAID | {
    "conversion": "kind:order_placed",
    "model": "linear",
    "lookback": "30d",
    "half_life": None,
    "conversions": 310,
    "customers": 270,
    "items": [
        {"node": "web", "conversions": 217.0, "share": 0.7, "conversions_with": 217, "interactions": 941},
        {"node": "(no path)", "conversions": 93, "share": 0.3, "conversions_with": 93, "interactions": 0},
    ],
}  # fmt: skip
_Missed = Annotated[
    int,
    Field(
        description="By how much a count may be too low: 0, unless there are more than a million different ones, of "
        "which the rarest are not kept."
    ),
]
_Relative = Annotated[float, Field(description="Relative error of medians at most.")]


class _Answer(BaseModel):
    """What every answer says."""

    from_: AwareDatetime = Field(alias="from", description="Whole hours are counted from here, inclusive.")
    to: AwareDatetime = Field(description="Up to here, exclusive.")
    as_of: AwareDatetime | None = Field(
        description="All that was committed by then is counted. Null: the first pass over what is stored is not over."
    )
    by: By = Field(description="What interactions are seen as.")


class _Counted(_Answer):
    """Of how much it is."""

    within: str = Field(description="As it was given.")
    interactions: int = Field(description="In the range.")
    customers: int = Field(description="Who had them; those of merged identities are one.")


class TransitionErrors(BaseModel):
    """How exact an answer about transitions is."""

    median_gap_seconds: _Relative
    count: _Missed


class OtherTransitions(BaseModel):
    """The edges beyond `top`."""

    edges: int = Field(description="How many there are.")
    count: int = Field(description="How often customers went along them.")


class Transition(BaseModel):
    """An edge."""

    from_: str = Field(alias="from", description="A slug, kind or channel; or `(entry)`, `(none)`, `(other)`.")
    to: str = Field(description="A slug, kind or channel; or `(exit)`, `(none)`, `(other)`.")
    count: int = Field(description="How often customers went this way.")
    customers: int = Field(description="How many of them.")
    median_gap_seconds: float | None = Field(description="From the one to the next; null for entries and exits.")


class TransitionsAnswer(_Counted):
    """How customers go on from one interaction to the next, the commonest way first."""

    model_config = like(TRANSITIONS)

    errors: TransitionErrors
    other: OtherTransitions
    items: list[Transition]


class PathErrors(BaseModel):
    """How exact an answer about paths is."""

    count: _Missed


class OtherPaths(BaseModel):
    """The paths beyond `top`."""

    paths: int = Field(description="How many different ones there are.")
    count: int = Field(description="How often customers took them.")


class CustomersPath(BaseModel):
    """Interactions that follow one another."""

    nodes: list[str] = Field(description="Slugs, kinds or channels; or `(none)`, `(other)`.")
    count: int = Field(description="How often customers took this path.")
    customers: int = Field(description="How many of them.")
    share: float | None = Field(description="Of all paths that were asked for.")


class PathsAnswer(_Counted):
    """The commonest paths first."""

    model_config = like(PATHS)

    length: int
    starts_with: str | None
    ends_with: str | None
    through: str | None
    paths: int = Field(description="How often any of the paths that were asked for was taken.")
    errors: PathErrors
    other: OtherPaths
    items: list[CustomersPath]


class FunnelErrors(BaseModel):
    """How exact an answer about a funnel is."""

    median_seconds: _Relative


class FunnelStep(BaseModel):
    """One step of a funnel."""

    step: str = Field(description="As it was given.")
    customers: int = Field(description="Who passed it.")
    of_first: float | None = Field(description="The share of those who passed the first step.")
    of_previous: float | None = Field(description="The share of those who passed the step before it.")
    drop_off: int | None = Field(description="Those who passed the step before it, and not this one.")
    median_seconds: float | None = Field(
        description="From passing the step before it, for those who passed it. In any order: from when all steps "
        "before it had been there to when it had too."
    )


class FunnelAnswer(_Counted):
    """How many customers get how far."""

    model_config = like(FUNNEL)

    ordered: bool
    errors: FunnelErrors
    items: list[FunnelStep]


class Credit(BaseModel):
    """What is owed to one touchpoint, kind or channel."""

    node: str = Field(description="A slug, kind or channel; or `(no path)`, `(none)`, `(other)`.")
    conversions: float = Field(description="Those owed to it, in parts.")
    share: float | None = Field(description="Of all conversions.")
    conversions_with: int = Field(description="Those with it on their path.")
    interactions: int = Field(description="Its interactions on paths to conversions.")


class AttributionAnswer(_Answer):
    """What the conversions in the range are owed to, most first."""

    model_config = like(ATTRIBUTION)

    conversion: str = Field(description="As it was given.")
    model: Model
    lookback: str = Field(description="As it was given.")
    half_life: str | None = Field(description="As it was given; null where the model has none.")
    conversions: int = Field(description="In the range; `conversions` of the items add up to it.")
    customers: int = Field(description="Who converted.")
    items: list[Credit]
