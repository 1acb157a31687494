"""Whether the customer had to come back about the same matter, or had it settled at the first contact."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from percorso import ids
from percorso.measures.contacts import Contact
from percorso.measures.evidence import NAMED, Id

WITHIN_MS: Final = 7 * 86_400_000
"""Contact centres look back seven days for a repeat: most who were not helped are back by then."""

_JUDGED: Final = frozenset(("resolved", "unresolved", "escalated", "follow_up"))


@dataclass(frozen=True, slots=True)
class Repeat:
    """A contact about what an earlier one was about already."""

    interaction_id: Annotated[Id, Field(description="The contact.")]
    at: Annotated[datetime, Field(description="When it was.")]
    of: Annotated[Id, Field(description="The contact that it repeats.")]
    about: Annotated[str, Field(description="What both share: `case …` or `topic …`.")]


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often the customer reached out about the same topic or case again within 7 days."""

    count: Annotated[int, Field(description="How many repeats there were.")]
    share: Annotated[
        float | None,
        Field(description="The share of the contacts with which the customer reached out. Null: there are none."),
    ]
    latest: Annotated[list[Repeat], Field(description="The latest of them, at most 100.")]


@dataclass(frozen=True, slots=True)
class FirstContactResolution:
    """How many matters were settled by the first contact about them."""

    resolved: Annotated[int, Field(description="Matters settled at the first contact.")]
    of: Annotated[int, Field(description="Matters whose first contact says how it ended.")]
    share: Annotated[float | None, Field(description="The one divided by the other. Null: there are none.")]


class Found(NamedTuple):
    """A contact, the earlier one that it repeats, and what both are about."""

    contact: Contact
    of: Contact
    about: str


def find_repeats(contacts: Sequence[Contact]) -> list[Found]:
    """Every repeat, in order of time.

    A repeat is a contact with which the customer reaches out no later than 7 days after another one of the same case or
    with a topic in common. More messages of a conversation repeat nothing: it is one contact.
    """
    by_case: dict[str, Contact] = {}
    by_topic: dict[str, Contact] = {}
    conversations: set[str] = set()
    found = []
    for contact in contacts:
        if not contact.reaches_out:
            continue
        known = contact.conversation is not None and contact.conversation in conversations
        if not known and (repeat := _repeat(contact, by_case, by_topic)):
            found.append(repeat)
        if contact.conversation is not None:
            conversations.add(contact.conversation)
        if contact.case is not None:
            by_case[contact.case] = contact
        for topic in contact.topics:
            by_topic[topic] = contact
    return found


def _repeat(contact: Contact, by_case: Mapping[str, Contact], by_topic: Mapping[str, Contact]) -> Found | None:
    """The latest contact about the same, where it is near enough; a case says more than a topic."""
    if contact.case is not None:
        before = by_case.get(contact.case)
        if before is not None and contact.at - before.at <= WITHIN_MS:
            return Found(contact, before, f"case {contact.case}")
    for topic in contact.topics:
        before = by_topic.get(topic)
        if before is not None and contact.at - before.at <= WITHIN_MS:
            return Found(contact, before, f"topic {topic}")
    return None


def repeats(contacts: Sequence[Contact], found: Sequence[Found]) -> Repeats:
    """The repeats that were found among these contacts."""
    reached_out = sum(contact.reaches_out for contact in contacts)
    latest = [
        Repeat(each.contact.id, ids.from_unix_ms(each.contact.at), each.of.id, each.about) for each in found[-NAMED:]
    ]
    return Repeats(len(found), round(len(found) / reached_out, 4) if reached_out else None, latest)


def first_contacts(contacts: Sequence[Contact], found: Sequence[Found]) -> list[tuple[Contact, bool]]:
    """The first contact of each matter that says how it ended, and whether that settled the matter.

    A matter is a case, a conversation, or a contact with neither. It was settled at the first contact where that says
    `resolved` and the customer neither reached out in the same case or conversation again nor came back about it
    (`find_repeats`): first contact resolution as contact centres define it, measured by what the customer did and not
    by what an agent claimed alone.
    """
    again = {repeat.contact for repeat in found}
    repeated = {repeat.of for repeat in found}
    reached_out = [contact for contact in contacts if contact.reaches_out]
    times = Counter(thread for contact in reached_out for thread in contact.threads)
    seen: set[str] = set()
    first = []
    for contact in reached_out:
        if seen.isdisjoint(contact.threads) and contact not in again and contact.resolution in _JUDGED:
            settled = contact.resolution == "resolved" and contact not in repeated
            first.append((contact, settled and all(times[thread] == 1 for thread in contact.threads)))
        seen.update(contact.threads)
    return first


def first_contact_resolution(first: Sequence[bool]) -> FirstContactResolution:
    """Of matters, by whether the first contact settled each, how many it did."""
    return FirstContactResolution(sum(first), len(first), round(sum(first) / len(first), 4) if first else None)
