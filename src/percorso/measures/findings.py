"""What is found in a customer's contacts, by one walk for each kind, for the summary and the outcomes alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from percorso.measures.cases import Course, courses
from percorso.measures.contacts import Contact
from percorso.measures.episodes import Stretch, cut
from percorso.measures.repeats import Found, find_repeats, first_contacts
from percorso.measures.responses import Waits, find_waits


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in these contacts; nothing of it depends on the time at which it is looked for.

    `first_contacts` has each first contact of a matter that says how it ended, and whether that settled it.
    """

    contacts: Sequence[Contact]
    waits: Waits
    repeats: Sequence[Found]
    first_contacts: Sequence[tuple[Contact, bool]]
    courses: Mapping[str, Course]
    stretches: Sequence[Stretch]


def find(contacts: Sequence[Contact]) -> Findings:
    """Look through contacts, given in order of time."""
    again = find_repeats(contacts)
    how_cases_went = courses(contacts)
    return Findings(
        contacts,
        find_waits(contacts),
        again,
        first_contacts(contacts, again),
        how_cases_went,
        cut(contacts, how_cases_went),
    )
