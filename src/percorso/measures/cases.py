"""Cases: which are open, and with which contact the others were closed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from percorso import ids
from percorso.measures.contacts import Contact
from percorso.measures.evidence import NAMED, Id
from percorso.measures.roles import settles


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case that is not settled."""

    case: Annotated[str, Field(description="The senders' name for it.")]
    interactions: Annotated[int, Field(description="How many interactions it has.")]
    opened_at: Annotated[datetime, Field(description="When the first of them was.")]
    last_at: Annotated[datetime, Field(description="When the last was.")]
    last_interaction_id: Annotated[Id, Field(description="The last of them.")]


@dataclass(frozen=True, slots=True)
class Cases:
    """The customer's cases."""

    open: Annotated[int, Field(description="How many are open.")]
    closed: Annotated[int, Field(description="How many are closed.")]
    latest_open: Annotated[list[OpenCase], Field(description="The open ones, the latest first; at most 100.")]


class Course:
    """How a case went: its first and last contact, how many there were, and whether it is settled."""

    __slots__ = ("count", "first", "last", "settled")

    def __init__(self, first: Contact) -> None:
        self.first = self.last = first
        self.count = 0
        self.settled = False


def courses(contacts: Sequence[Contact]) -> dict[str, Course]:
    """How each case went.

    A case is settled by a contact that says so (`roles.settles`), and open again with one that says otherwise or with
    which the customer came back; what goes out without a word of it changes nothing. Surveys ask about a case and are
    no part of it.
    """
    found: dict[str, Course] = {}
    for contact in contacts:
        if contact.case is None or contact.channel == "survey":
            continue
        course = found.get(contact.case)
        if course is None:
            course = found[contact.case] = Course(contact)
        course.last = contact
        course.count += 1
        if settles(contact):
            course.settled = True
        elif contact.status is not None or contact.resolution is not None or contact.direction == "inbound":
            course.settled = False
    return found


def cases(found: Mapping[str, Course]) -> Cases:
    """The cases by whether they are settled."""
    waiting = [(case, course) for case, course in found.items() if not course.settled]
    waiting.sort(key=lambda each: each[1].last.id, reverse=True)
    return Cases(
        len(waiting),
        len(found) - len(waiting),
        [
            OpenCase(
                case,
                course.count,
                ids.from_unix_ms(course.first.at),
                ids.from_unix_ms(course.last.at),
                course.last.id,
            )
            for case, course in waiting[:NAMED]
        ],
    )
