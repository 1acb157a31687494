"""What the OpenAPI document says of problems and of contact quality: their shapes, with an example of each."""

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.analytics.problems import FEWEST, HISTORY, RATIO
from percorso.analytics.significance import EXACT, LEVEL, POISSON_RATES, TWO_PROPORTIONS
from percorso.http.documents.analytics_figures import Period
from percorso.http.documents.base import like
from percorso.http.documents.examples import INTERACTION_ID, Example

_From = Annotated[
    AwareDatetime, Field(alias="from", description="The first moment that was looked at, a whole hour of UTC.")
]
_To = Annotated[AwareDatetime, Field(description="The moment before which it ends.")]
_AsOf = Annotated[
    AwareDatetime | None,
    Field(
        description="All that was committed until then is in it, and so are answers and repeats of contacts. Null: "
        "what was there before is not all counted yet."
    ),
]
_RANGE: Final = {
    "from": "2026-10-26T00:00:00.000Z",
    "to": "2026-11-25T00:00:00.000Z",
    "as_of": "2026-11-25T09:00:12.481Z",
}


def flat(nested: Example, before: str = "") -> Example:
    """The same with dotted names, as it stands in a table."""
    found: Example = {}
    for name, value in nested.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


_COMPLAINTS: Final[Example] = {
    "count": 64, "of": 1840, "share": 0.0348, "history": 0.0162, "history_p_value": 0.000003, "rising": True,
    "others": 0.0171, "others_p_value": 0.000001, "high": True, "excess": 34.2,
}  # fmt: skip
_NEGATIVE: Final[Example] = {
    "count": 212, "of": 1105, "share": 0.1919, "history": 0.1876, "history_p_value": 0.94, "rising": False,
    "others": 0.1204, "others_p_value": 0.000001, "high": True, "excess": 79.0,
}  # fmt: skip
_REPEATS: Final[Example] = {
    "count": 121, "of": 1312, "share": 0.0922, "history": 0.0931, "history_p_value": 0.98, "rising": False,
    "others": 0.0887, "others_p_value": 0.83, "high": False, "excess": 0.0,
}  # fmt: skip
_UNRESOLVED: Final[Example] = {
    "count": 98, "of": 905, "share": 0.1083, "history": 0.1049, "history_p_value": 0.91, "rising": False,
    "others": 0.1121, "others_p_value": 0.87, "high": False, "excess": 0.0,
}  # fmt: skip
_EXAMPLE: Final[Example] = {
    "interaction_id": INTERACTION_ID,
    "href": f"/v1/interactions/{INTERACTION_ID}",
    "occurred_at": "2026-11-20T09:00:00.000Z",
    "signals": ["negative", "unresolved"],
}
_PROBLEM: Final[Example] = {
    "rank": 1,
    "by": "topic",
    "name": "billing",
    "score": 113.2,
    "interactions": 1840,
    "trouble": 495,
    "share_of_trouble": 0.1874,
    "complaints": _COMPLAINTS,
    "negative": _NEGATIVE,
    "repeats": _REPEATS,
    "unresolved": _UNRESOLVED,
    "examples": [_EXAMPLE],
}

SIGNALS: Final = {
    "complaints": "complaints, of all interactions; a kind that begins with `complaint` has none, since it is nothing "
    "else",
    "negative": "negative sentiment, of the interactions with any sentiment: labelled so, or scored below 0 without a "
    "label",
    "repeats": "repeat contacts, of the contacts with which customers reached out: no later than 7 days after another "
    "one of the same case or with a topic in common",
    "unresolved": "those left unresolved, escalated or to be followed up, of the interactions that say a resolution",
}
"""What each signal is, and what its share is taken of."""


PROBLEM_ROW: Final[Example] = flat(_PROBLEM | {"examples": [INTERACTION_ID]})
"""What a row of the table of problems looks like."""


class SignalDocument(BaseModel):
    """How often something went wrong at an item, and how that compares."""

    model_config = like(_COMPLAINTS)

    count: int = Field(description="Interactions with the signal.")
    of: int = Field(description="Interactions that can have it.")
    share: float | None = Field(description="`count` divided by `of`. Null: there are none.")
    history: float | None = Field(
        description=f"The share in the {HISTORY} periods of the same length before, taken together. Null: there is no "
        "such history."
    )
    history_p_value: float | None = Field(
        description="The adjusted p-value of the difference between both. Null: too few to test."
    )
    rising: bool = Field(
        description=f"The share is above its history by more than chance (p-value below {LEVEL}) and at least {RATIO} "
        f"times as large, with {FEWEST} interactions or more that have the signal."
    )
    others: float | None = Field(
        description="The share among all other items of the same dimension, in the period. Null: there are none."
    )
    others_p_value: float | None = Field(
        description="The adjusted p-value of the difference between both. Null: too few to test."
    )
    high: bool = Field(description="The share is above that of the others, judged as `rising` is.")
    excess: float = Field(
        description="Interactions with the signal beyond what the share of its history (where rising) or of the others "
        "(where high) would give: `count` - `of` × that share; the larger of both. 0: neither."
    )


class ExampleDocument(BaseModel):
    """An interaction at which something went wrong."""

    model_config = like(_EXAMPLE)

    interaction_id: UUID
    href: str = Field(description="Where to read it.")
    occurred_at: AwareDatetime
    signals: list[Literal["complaints", "negative", "repeats", "unresolved"]] = Field(
        description="What went wrong with it."
    )


class ProblemItem(BaseModel):
    """A topic, kind or touchpoint at which something is high or rising."""

    model_config = like(_PROBLEM)

    rank: int = Field(description="1 is the worst.")
    by: Literal["topic", "kind", "touchpoint"]
    name: str = Field(description="The topic, the kind, or the touchpoint's slug.")
    score: float = Field(
        description="The sum of the `excess` of its signals: how much trouble there would be less if its shares were "
        "those of its history, or of the others. What is ranked by; of equal ones, that with more `trouble` is first."
    )
    interactions: int
    trouble: int = Field(
        description="Complaints, negative ones, repeats and unresolved ones added up: an interaction counts once for "
        "each of them that it is."
    )
    share_of_trouble: float | None = Field(
        description="`trouble` divided by that of all interactions. Those of topics may add up to more than 1, since "
        "an interaction counts in each of its topics, and to less, since it may have none. Null: there is none."
    )
    complaints: SignalDocument = Field(description=f"Of {SIGNALS['complaints']}.")
    negative: SignalDocument = Field(description=f"Of {SIGNALS['negative']}.")
    repeats: SignalDocument = Field(description=f"Of {SIGNALS['repeats']}.")
    unresolved: SignalDocument = Field(description=f"Of {SIGNALS['unresolved']}.")
    examples: list[ExampleDocument] = Field(
        description="The newest interactions of it with a signal that is high or rising, at most 3."
    )


class AllTrouble(BaseModel):
    """Trouble with all interactions of the period."""

    interactions: int
    complaints: int
    negative: int
    repeats: int
    unresolved: int
    trouble: int = Field(description="The four added up.")


class Method(BaseModel):
    """How what is high or rising is told from chance."""

    test: str = Field(description="The test of a difference between two shares, two-sided.")
    test_of_few: str = Field(description="That where fewer than 5 cases are to be expected in either.")
    correction: str = Field(description="How p-values are adjusted for the many comparisons.")
    level: float = Field(description="The adjusted p-value below which a difference is no chance.")
    comparisons: int = Field(description="How many were made.")


class ProblemsDocument(BaseModel):
    """The problems of a period, the worst first."""

    model_config = like(
        _RANGE
        | {
            "history": {"from": "2026-06-28T00:00:00.000Z", "to": "2026-10-26T00:00:00.000Z"},
            "method": {
                "test": TWO_PROPORTIONS, "test_of_few": EXACT, "correction": "Benjamini–Hochberg", "level": LEVEL,
                "comparisons": 412,
            },
            "total": {
                "interactions": 20110, "complaints": 362, "negative": 1466, "repeats": 513, "unresolved": 301,
                "trouble": 2642,
            },
            "found": 1,
            "items": [_PROBLEM],
        }
    )  # fmt: skip

    from_: _From
    to: _To
    as_of: _AsOf
    history: Period = Field(description="What each item's own history is.")
    method: Method
    total: AllTrouble
    found: int = Field(description="How many problems there are; `top` of them are in `items`.")
    items: list[ProblemItem]


def _figure(count: int, of: int, value: float, before: float, p_value: float, test: str) -> Example:
    change = {
        "before": before,
        "difference": round(value - before, 6),
        "p_value": p_value,
        "significant": p_value < LEVEL,
        "test": test,
    }
    return {"count": count, "of": of, "value": value, "change": change}


_QUALITY: Final[Example] = {
    "first_contact_resolution": _figure(331, 402, 0.823383, 0.792208, 0.262, TWO_PROPORTIONS),
    "repeat_contact_rate": _figure(121, 1312, 0.092226, 0.104348, 0.302, TWO_PROPORTIONS),
    "hand_offs_per_contact": _figure(197, 1312, 0.150152, 0.109091, 0.004, POISSON_RATES),
    "channel_switch_rate": _figure(88, 1312, 0.067073, 0.065773, 0.895, TWO_PROPORTIONS),
    "unanswered_share": _figure(21, 690, 0.030435, 0.020231, 0.229, TWO_PROPORTIONS),
    "waiting_seconds": 93120.5,
}
_REPEAT: Final[Example] = _QUALITY["repeat_contact_rate"]
_POINT: Final[Example] = {
    name: {key: each for key, each in figure.items() if key != "change"} if isinstance(figure, dict) else figure
    for name, figure in _QUALITY.items()
}


class ChangeDocument(BaseModel):
    """How a figure differs from that of the period of the same length before."""

    model_config = like(_REPEAT["change"])

    before: float | None = Field(description="What it was. Null: there was none.")
    difference: float | None = Field(description="What it is less what it was. Null: there is none of either.")
    p_value: float | None = Field(description="Of the difference, two-sided. Null: too few to test.")
    significant: bool | None = Field(description=f"The p-value is below {LEVEL}. Null: too few to test.")
    test: str | None = Field(description="The test. Null: too few for it.")


class PointFigure(BaseModel):
    """A figure of a part of the period."""

    model_config = like(_POINT["repeat_contact_rate"])

    count: int
    of: int
    value: float | None = Field(description="`count` divided by `of`. Null: there are none.")


class QualityFigure(PointFigure):
    """A figure of the period, and how it changed."""

    model_config = like(_REPEAT)

    change: ChangeDocument


QUALITY_ROW: Final[Example] = {"name": "support-line", "contacts": 1312} | flat(_QUALITY)
"""What a row of the table of contact quality looks like."""

MEASURES: Final = {
    "first_contact_resolution": "First-contact resolution: matters (a case, a conversation, or a contact with neither) "
    "that the first contact settled, of those whose first contact says how it ended. It settled a matter where it says "
    "`resolved` and the customer did not reach out about it again.",
    "repeat_contact_rate": "Repeat contacts, of the contacts with which customers reached out: no later than 7 days "
    "after another one of the same case or with a topic in common. Counted where the customer came back.",
    "hand_offs_per_contact": "Hand-offs of a case or conversation from one agent to another, and transfers, for each "
    "contact with which customers reached out. There may be more than one to a contact.",
    "channel_switch_rate": "Contacts on another channel than the customer's contact before in the same episode, of the "
    "contacts with which customers reached out. Counted at the contact on the new channel.",
    "unanswered_share": "Contacts that still wait for an answer at `as_of`, of those of which it is known whether they "
    "were answered: they ask for an answer and name a conversation or case. The latest have had less time.",
    "waiting_seconds": "How long those that still wait have done so at `as_of`, on average, in seconds. Null: none "
    "waits.",
}
"""What each figure of contact quality is."""


class QualityPoint(BaseModel):
    """Contact quality in an hour, day, week or month."""

    model_config = like({"start": "2026-11-02T00:00:00+01:00"} | _POINT)

    start: AwareDatetime = Field(description="Where it begins; the first and the last may be cut by `from` and `to`.")
    first_contact_resolution: PointFigure
    repeat_contact_rate: PointFigure
    hand_offs_per_contact: PointFigure
    channel_switch_rate: PointFigure
    unanswered_share: PointFigure
    waiting_seconds: float | None


class QualityFigures(BaseModel):
    """Contact quality of a period."""

    model_config = like(_QUALITY)

    first_contact_resolution: QualityFigure = Field(description=MEASURES["first_contact_resolution"])
    repeat_contact_rate: QualityFigure = Field(description=MEASURES["repeat_contact_rate"])
    hand_offs_per_contact: QualityFigure = Field(description=MEASURES["hand_offs_per_contact"])
    channel_switch_rate: QualityFigure = Field(description=MEASURES["channel_switch_rate"])
    unanswered_share: QualityFigure = Field(description=MEASURES["unanswered_share"])
    waiting_seconds: float | None = Field(description=MEASURES["waiting_seconds"])


class QualityItem(QualityFigures):
    """Contact quality of a touchpoint, channel or kind."""

    model_config = like({"name": "support-line", "contacts": 1312} | _QUALITY | {"series": None})

    name: str | None = Field(
        description="The touchpoint's slug, the channel or the kind. Null: those interactions that say no kind."
    )
    contacts: int = Field(description="Contacts with which customers reached out.")
    series: list[QualityPoint] | None = Field(
        description="With `interval`: the same for each part of the period, none left out. Null: without."
    )


class ContactQuality(BaseModel):
    """How contacts went in a period, by touchpoint, channel or kind: those with the most contacts first."""

    model_config = like(
        _RANGE
        | {
            "by": "touchpoint",
            "interval": None,
            "tz": "UTC",
            "before": {"from": "2026-09-26T00:00:00.000Z", "to": "2026-10-26T00:00:00.000Z"},
            "total": _QUALITY,
            "found": 1,
            "items": [{"name": "support-line", "contacts": 1312} | _QUALITY | {"series": None}],
        }
    )

    from_: _From
    to: _To
    as_of: _AsOf
    before: Period = Field(description="The period of the same length before.")
    by: Literal["touchpoint", "channel", "kind"]
    interval: Literal["hour", "day", "week", "month"] | None
    tz: str
    total: QualityFigures = Field(description="Of everything.")
    found: int = Field(
        description="How many touchpoints, channels or kinds there are with any contact; `top` of them are in `items`."
    )
    items: list[QualityItem]
