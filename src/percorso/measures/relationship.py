"""How the relationship stands: solid, watch or cracked, from named rules that each name the interactions they rest on.

The rules and their weights are percorso's own judgement, put in one place to be read and argued with: RULES. Points for
the customer's sake can soften what speaks against, but not make up for an open complaint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean
from typing import Annotated, Final, Literal

from pydantic import Field

from percorso import ids
from percorso.measures.buying import Buying
from percorso.measures.complaints import Complaints
from percorso.measures.contacts import Contact
from percorso.measures.evidence import NAMED, Id
from percorso.measures.feelings import Feelings, Opinions, Satisfaction, detracts, promotes, satisfied
from percorso.measures.repeats import Found
from percorso.measures.responses import Responses

State = Literal["solid", "watch", "cracked"]

CRACKED: Final = -40
"""The highest score of a cracked relationship; from 0 on it is solid."""
MOST_FOR: Final = 30
"""The most that everything that speaks for a relationship counts together."""
MOST: Final = 100

_SEASON: Final = timedelta(days=90)
_YEAR: Final = timedelta(days=365)
_LONG_WAIT: Final = timedelta(days=2)
_STRONG: Final = 0.25
_MANY_REPEATS: Final = 2


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that applies."""

    rule: Annotated[str, Field(description="The rule's name.")]
    weight: Annotated[int, Field(description="What it adds to the score.")]
    says: Annotated[str, Field(description="What it means.")]
    interaction_ids: Annotated[
        list[Id], Field(min_length=1, description="The interactions it rests on, newest first; at most 100.")
    ]


@dataclass(frozen=True, slots=True)
class Relationship:
    """How the relationship with the customer stands."""

    state: Annotated[State, Field(description="`cracked` to -40, `watch` below 0, `solid` from 0 on.")]
    score: Annotated[
        int,
        Field(
            ge=-MOST,
            le=MOST,
            description="The sum of the weights of the reasons, those above 0 counting at most 30 together.",
        ),
    ]
    reasons: Annotated[list[Reason], Field(description="The rules that apply, the heaviest first.")]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules look at: the contacts in order of time, the figures made of them, and the present."""

    now_ms: int
    contacts: Sequence[Contact]
    complaints: Complaints
    responses: Responses
    repeats: Sequence[Found]
    first_contacts: Sequence[tuple[Contact, bool]]
    sentiment: Feelings
    feedback: Opinions
    buying: Buying

    def since(self, ago: timedelta) -> int:
        """The Unix time in ms so long ago."""
        return self.now_ms - ago // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: it applies where it finds interactions, which it gives oldest first."""

    name: str
    weight: int
    says: str
    finds: Callable[[Evidence], Sequence[Id]]


def judge(evidence: Evidence) -> Relationship:
    """Apply every rule. A customer of whom nothing speaks for or against is solid, with a score of 0."""
    reasons = [
        Reason(rule.name, rule.weight, rule.says, list(found[: -NAMED - 1 : -1]))
        for rule in RULES
        if (found := rule.finds(evidence))
    ]
    reasons.sort(key=lambda reason: -abs(reason.weight))
    against = sum(reason.weight for reason in reasons if reason.weight < 0)
    score = max(against + min(sum(reason.weight for reason in reasons if reason.weight > 0), MOST_FOR), -MOST)
    state: State = "solid" if score >= 0 else "watch" if score > CRACKED else "cracked"
    return Relationship(state, score, reasons)


def _open_complaint(evidence: Evidence) -> list[Id]:
    return sorted(each for complaint in evidence.complaints.latest_open for each in complaint.interaction_ids)


def _settled_complaint(evidence: Evidence) -> list[Id]:
    return sorted(
        complaint.closed_by
        for complaint in evidence.complaints.latest_closed
        if complaint.closed_by is not None and ids.occurred_ms(complaint.closed_by.bytes) >= evidence.since(_YEAR)
    )


def _unanswered(evidence: Evidence) -> list[Id]:
    return [
        each.interaction_id
        for each in reversed(evidence.responses.unanswered)
        if timedelta(seconds=each.waiting_seconds) >= _LONG_WAIT and ids.unix_ms(each.since) >= evidence.since(_YEAR)
    ]


def _came_back(evidence: Evidence) -> Sequence[Id]:
    since = evidence.since(_SEASON)
    found = [each.contact.id for each in evidence.repeats if each.contact.at >= since]
    return found if len(found) >= _MANY_REPEATS else []


def _settled_at_once(evidence: Evidence) -> list[Id]:
    since = evidence.since(_SEASON)
    return [contact.id for contact, settled in evidence.first_contacts if settled and contact.at >= since]


def _opted_out(evidence: Evidence) -> list[Id]:
    """The last word on subscriptions, where it is no, within a year."""
    said = [contact for contact in evidence.contacts if contact.outcome in {"subscribed", "unsubscribed"}]
    out = said and said[-1].outcome == "unsubscribed" and said[-1].at >= evidence.since(_YEAR)
    return [said[-1].id] if out else []


def _felt(evidence: Evidence, holds: Callable[[float], bool]) -> list[Id]:
    """Contacts of the last season with a feeling of this kind, where their mean is strong enough to be one."""
    since = evidence.since(_SEASON)
    scored = [(contact.id, contact.sentiment) for contact in evidence.contacts if contact.at >= since]
    felt = [(each, score) for each, score in scored if score is not None]
    if not felt or not holds(fmean(score for _, score in felt)):
        return []
    return [each for each, score in felt if holds(score)]


def _felt_bad(evidence: Evidence) -> list[Id]:
    return _felt(evidence, lambda score: score <= -_STRONG)


def _felt_good(evidence: Evidence) -> list[Id]:
    return _felt(evidence, lambda score: score >= _STRONG)


def _going(evidence: Evidence, direction: str) -> Sequence[Id]:
    going = evidence.sentiment.trend
    latest = evidence.sentiment.latest
    if going.direction != direction or latest is None or ids.unix_ms(latest.at) < evidence.since(_YEAR):
        return []
    return [contact.id for contact in evidence.contacts if contact.sentiment is not None][-going.values :]


def _falling(evidence: Evidence) -> Sequence[Id]:
    return _going(evidence, "falling")


def _rising(evidence: Evidence) -> Sequence[Id]:
    return _going(evidence, "rising")


def _answered(evidence: Evidence, given: Satisfaction | None, holds: Callable[[float], bool]) -> list[Id]:
    """The latest answer, where it is of this kind and not older than a year."""
    if given is None or ids.unix_ms(given.latest_at) < evidence.since(_YEAR) or not holds(given.latest_scaled):
        return []
    return [given.interaction_id]


def _detractor(evidence: Evidence) -> list[Id]:
    return _answered(evidence, evidence.feedback.nps, detracts)


def _promoter(evidence: Evidence) -> list[Id]:
    return _answered(evidence, evidence.feedback.nps, promotes)


def _dissatisfied(evidence: Evidence) -> list[Id]:
    return _answered(evidence, evidence.feedback.csat, lambda scaled: not satisfied(scaled))


def _satisfied(evidence: Evidence) -> list[Id]:
    return _answered(evidence, evidence.feedback.csat, satisfied)


def _hard(evidence: Evidence) -> list[Id]:
    return _answered(evidence, evidence.feedback.ces, lambda scaled: not satisfied(scaled))


def _overdue(evidence: Evidence) -> list[Id]:
    return evidence.buying.latest[::-1] if evidence.buying.overdue is True else []


def _buys(evidence: Evidence) -> list[Id]:
    return evidence.buying.latest[::-1] if evidence.buying.overdue is False else []


RULES: Final = (
    Rule("open_complaint", -35, "A complaint is open.", _open_complaint),
    Rule("detractor", -20, "The latest NPS answer, within a year, is 0 to 6.", _detractor),
    Rule("unanswered", -20, "Somebody has waited for an answer for two days or more.", _unanswered),
    Rule("felt_bad", -15, "What was heard in the last 90 days is negative.", _felt_bad),
    Rule("dissatisfied", -15, "The latest CSAT answer, within a year, is not in the top 40 %.", _dissatisfied),
    Rule("overdue", -15, "The next purchase is overdue.", _overdue),
    Rule("came_back", -10, "Came back about the same matter within 7 days, twice or more in 90 days.", _came_back),
    Rule("falling", -10, "What is heard gets worse.", _falling),
    Rule("hard", -10, "The latest CES answer, within a year, is that it was not easy.", _hard),
    Rule("opted_out", -10, "Unsubscribed within a year.", _opted_out),
    Rule("buys", 20, "Buys at the usual pace.", _buys),
    Rule("promoter", 20, "The latest NPS answer, within a year, is 9 or 10.", _promoter),
    Rule("felt_good", 15, "What was heard in the last 90 days is positive.", _felt_good),
    Rule("satisfied", 10, "The latest CSAT answer, within a year, is in the top 40 %.", _satisfied),
    Rule("rising", 10, "What is heard gets better.", _rising),
    Rule("settled_complaint", 10, "A complaint was settled within a year.", _settled_complaint),
    Rule("settled_at_once", 5, "A matter was settled at the first contact in the last 90 days.", _settled_at_once),
)
"""Every rule, with what it adds to the score: what speaks against a relationship, and what speaks for it."""
