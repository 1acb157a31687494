"""The summary of a customer: all figures, made of their contacts in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Annotated

from pydantic import Field

from percorso import ids
from percorso.measures.buying import Buying, buying
from percorso.measures.cases import Cases, cases
from percorso.measures.complaints import Complaints, complaints
from percorso.measures.contacts import Contact
from percorso.measures.counts import Counts, Preferred, counts, preferred, zone_of
from percorso.measures.episodes import Effort, effort
from percorso.measures.feelings import Feelings, Opinions, feedback, sentiment
from percorso.measures.findings import Findings, find
from percorso.measures.relationship import Evidence, Relationship, judge
from percorso.measures.repeats import Repeats, repeats
from percorso.measures.responses import Responses, responses


@dataclass(frozen=True, slots=True)
class Summary:
    """What a person who looks at one customer needs to know."""

    as_of: Annotated[datetime, Field(description="The moment for which all this is said.")]
    interactions: Annotated[int, Field(description="How many interactions it is made of.")]
    first_contact_at: Annotated[datetime | None, Field(description="When the first of them was. Null: there are none.")]
    last_contact_at: Annotated[datetime | None, Field(description="When the last was. Null: there are none.")]
    relationship: Annotated[Relationship, Field(description="How the relationship stands, and why.")]
    counts: Annotated[Counts, Field(description="How much contact there was.")]
    preferred: Annotated[Preferred, Field(description="By what means and when the customer gets in touch.")]
    responses: Annotated[Responses, Field(description="How long the customer waited for answers, and waits.")]
    repeats: Annotated[Repeats, Field(description="How often the customer had to come back about the same matter.")]
    effort: Annotated[Effort, Field(description="What the customer went through in their episodes.")]
    cases: Annotated[Cases, Field(description="The customer's cases.")]
    complaints: Annotated[Complaints, Field(description="The customer's complaints.")]
    sentiment: Annotated[Feelings, Field(description="How the customer felt.")]
    feedback: Annotated[Opinions, Field(description="What the customer answered when asked.")]
    buying: Annotated[Buying, Field(description="How the customer buys.")]


def summarise(contacts: Sequence[Contact], *, now: datetime, zone: tzinfo | None) -> Summary:
    """Sum up contacts, given in order of time, as of a moment, for a customer who is known to live in this time zone.

    Each figure is defined where it is made. It is one computation without I/O, some 3 µs a contact.
    """
    return sum_up(find(contacts), now=now, zone=zone)


def sum_up(found: Findings, *, now: datetime, zone: tzinfo | None) -> Summary:
    """Sum up contacts that were looked through already."""
    contacts = found.contacts
    now_ms = ids.unix_ms(now)
    its_zone, zone_from = zone_of(contacts, zone)
    evidence = Evidence(
        now_ms=now_ms,
        contacts=contacts,
        complaints=complaints(contacts),
        responses=responses(found.waits, now_ms),
        repeats=found.repeats,
        first_contacts=found.first_contacts,
        sentiment=sentiment(contacts),
        feedback=feedback(contacts),
        buying=buying(contacts, now_ms, its_zone),
    )
    return Summary(
        as_of=now,
        interactions=len(contacts),
        first_contact_at=ids.from_unix_ms(contacts[0].at) if contacts else None,
        last_contact_at=ids.from_unix_ms(contacts[-1].at) if contacts else None,
        relationship=judge(evidence),
        counts=counts(contacts),
        preferred=preferred(contacts, its_zone, zone_from),
        responses=evidence.responses,
        repeats=repeats(contacts, found.repeats),
        effort=effort(found.stretches, found.first_contacts),
        cases=cases(found.courses),
        complaints=evidence.complaints,
        sentiment=evidence.sentiment,
        feedback=evidence.feedback,
        buying=evidence.buying,
    )
