"""How the customer feels: what was heard in contacts, and what they answered when asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from statistics import fmean
from typing import Annotated, Final

from pydantic import Field

from percorso import ids
from percorso.measures.contacts import Contact
from percorso.measures.evidence import Id
from percorso.measures.trends import Trend, trend

PROMOTER: Final = 0.9
DETRACTOR: Final = 0.6
"""9 and 10 of 0 to 10 promote, 0 to 6 detract (Reichheld, Harvard Business Review, December 2003)."""
SATISFIED: Final = 0.6
"""The top 40 % of the scale: 4 and 5 of 1 to 5."""

_DAY: Final = 86_400_000
_EFFORTS: Final = 6
_NEAR: Final = 1e-9
"""So that 6 of 10 is at most 0.6 however it was divided."""


@dataclass(frozen=True, slots=True)
class Felt:
    """A feeling at one moment."""

    score: Annotated[float, Field(ge=-1, le=1, description="From -1 (bad) to 1 (good).")]
    at: Annotated[datetime, Field(description="When.")]
    interaction_id: Annotated[Id, Field(description="In which interaction.")]


@dataclass(frozen=True, slots=True)
class SentimentMonth:
    """How the customer felt in a month."""

    month: Annotated[str, Field(description="The month, in UTC.", examples=["2026-11"])]
    mean: Annotated[float, Field(ge=-1, le=1, description="The mean score.")]
    interactions: Annotated[int, Field(description="Of so many interactions.")]


@dataclass(frozen=True, slots=True)
class Feelings:
    """What was heard in contacts."""

    interactions: Annotated[int, Field(description="How many interactions say how the customer felt.")]
    mean: Annotated[float | None, Field(description="The mean of their scores. Null: none says.")]
    latest: Annotated[Felt | None, Field(description="The latest.")]
    trend: Annotated[Trend, Field(description="Where the scores are going.")]
    over_time: Annotated[
        list[SentimentMonth], Field(description="By month, oldest first; months without any are left out.")
    ]


@dataclass(frozen=True, slots=True)
class Satisfaction:
    """What the customer answered to one kind of question."""

    answers: Annotated[int, Field(description="How many answers there are.")]
    value: Annotated[
        float,
        Field(
            description="NPS: the percentage of 9–10 less that of 0–6, from -100 to 100. CSAT: the share of answers "
            "in the top 40 % of the scale. CES: the mean on 1–7, high is easy."
        ),
    ]
    latest_score: Annotated[float, Field(description="The latest answer, as given.")]
    latest_scaled: Annotated[float, Field(ge=0, le=1, description="The same, from 0 (lowest possible) to 1 (highest).")]
    latest_at: Annotated[datetime, Field(description="When that was.")]
    interaction_id: Annotated[Id, Field(description="In which interaction.")]
    trend: Annotated[Trend, Field(description="Where the scaled answers are going.")]


@dataclass(frozen=True, slots=True)
class Opinions:
    """What the customer answered when asked; null where they never did."""

    nps: Annotated[Satisfaction | None, Field(description="How likely they are to recommend.")]
    csat: Annotated[Satisfaction | None, Field(description="How satisfied they are.")]
    ces: Annotated[Satisfaction | None, Field(description="How easy it was for them.")]


def sentiment(contacts: Sequence[Contact]) -> Feelings:
    """What was heard, over all contacts that say how the customer felt; a word alone counts as half its scale."""
    scored = [(contact, contact.sentiment) for contact in contacts if contact.sentiment is not None]
    months: dict[str, list[float]] = {}
    for contact, score in scored:
        months.setdefault(_month(contact.at // _DAY), []).append(score)
    latest = None
    if scored:
        contact, score = scored[-1]
        latest = Felt(score, ids.from_unix_ms(contact.at), contact.id)
    return Feelings(
        len(scored),
        round(fmean(score for _, score in scored), 4) if scored else None,
        latest,
        trend([(contact.at, score) for contact, score in scored]),
        [SentimentMonth(month, round(fmean(scores), 4), len(scores)) for month, scores in months.items()],
    )


@lru_cache(4096)
def _month(day: int) -> str:
    """The month of a day since 1970."""
    return f"{ids.from_unix_ms(day * _DAY):%Y-%m}"


def feedback(contacts: Sequence[Contact]) -> Opinions:
    """What was answered, for each metric as the field defines it."""
    found: dict[str, list[tuple[Contact, float, float]]] = {metric: [] for metric in _VALUES}
    for contact in contacts:
        for answer in contact.answers:
            if answer.metric in found:
                found[answer.metric].append((contact, answer.score, answer.scaled))
    return Opinions(**{metric: _satisfaction(given, _VALUES[metric]) for metric, given in found.items()})


def _satisfaction(
    given: Sequence[tuple[Contact, float, float]], value: Callable[[Sequence[float]], float]
) -> Satisfaction | None:
    if not given:
        return None
    contact, score, scaled = given[-1]
    return Satisfaction(
        len(given),
        round(value([each for _, _, each in given]), 4),
        score,
        round(scaled, 4),
        ids.from_unix_ms(contact.at),
        contact.id,
        trend([(each.at, answer) for each, _, answer in given]),
    )


def promotes(scaled: float) -> bool:
    """Whether an answer to the NPS question is a promoter's."""
    return scaled >= PROMOTER - _NEAR


def detracts(scaled: float) -> bool:
    """Whether an answer to the NPS question is a detractor's."""
    return scaled <= DETRACTOR + _NEAR


def satisfied(scaled: float) -> bool:
    """Whether an answer is in the top 40 % of its scale."""
    return scaled >= SATISFIED - _NEAR


def effort(scaled: float) -> float:
    """An answer about effort on the scale of 1 to 7."""
    return 1 + _EFFORTS * scaled


def _nps(scaled: Sequence[float]) -> float:
    return 100 * (sum(map(promotes, scaled)) - sum(map(detracts, scaled))) / len(scaled)


def _csat(scaled: Sequence[float]) -> float:
    return sum(map(satisfied, scaled)) / len(scaled)


def _ces(scaled: Sequence[float]) -> float:
    return 1 + _EFFORTS * fmean(scaled)


_VALUES: Final = {"nps": _nps, "csat": _csat, "ces": _ces}
