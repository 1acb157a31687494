"""How long the customer waited for an answer, and who still waits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Annotated, NamedTuple

from pydantic import Field

from percorso import ids
from percorso.measures.contacts import Contact
from percorso.measures.evidence import NAMED, Id
from percorso.measures.roles import answers, asks, meets, settles


@dataclass(frozen=True, slots=True)
class ResponseTime:
    """How quickly the organisation answered."""

    answered: Annotated[int, Field(description="How many times the customer was answered.")]
    median_seconds: Annotated[
        float | None, Field(description="The median time from asking to the answer. Null: never answered.")
    ]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A customer who waits: an inbound contact, and those after it, that nothing answered."""

    interaction_id: Annotated[Id, Field(description="The first interaction that was not answered.")]
    interactions: Annotated[int, Field(description="How many times the customer has asked since, that one included.")]
    channel: Annotated[str, Field(description="The channel of the first.")]
    since: Annotated[datetime, Field(description="Since when the customer waits.")]
    waiting_seconds: Annotated[int, Field(description="How long that is, at `as_of`.")]


@dataclass(frozen=True, slots=True)
class Responses:
    """Answers to inbound contacts, within one conversation or case."""

    overall: ResponseTime
    by_channel: Annotated[
        dict[str, ResponseTime], Field(description="The same by the channel on which the customer asked.")
    ]
    waiting: Annotated[int, Field(description="How many times the customer still waits for an answer.")]
    unanswered: Annotated[list[Unanswered], Field(description="Which those are, the latest first; at most 100.")]
    unthreaded: Annotated[
        int,
        Field(
            description="Inbound contacts that ask for an answer and name neither conversation nor case, so that "
            "nothing can be said of an answer."
        ),
    ]


class Wait:
    """A customer waiting: since which contact, how often they asked, and in which threads."""

    __slots__ = ("asked", "contact", "threads")

    def __init__(self, contact: Contact) -> None:
        self.contact = contact
        self.asked = 0
        self.threads: set[str] = set()


class Waits(NamedTuple):
    """How the customer waited.

    `answered` has each contact that a wait began with that was answered, and after how many seconds; `open` the waits
    that go on, the longest first; `unthreaded` says how many contacts ask in no conversation or case.
    """

    answered: Sequence[tuple[Contact, float]]
    open: Sequence[Wait]
    unthreaded: int


def find_waits(contacts: Sequence[Contact]) -> Waits:
    """Pair what asks with what answers, in order of time.

    A wait begins with a contact that asks for an answer (`roles.asks`) and ends with the next one in the same
    conversation or case that answers (`roles.answers`); asking again meanwhile is the same wait. It also ends,
    without a response time, where the customer reaches somebody on the spot (`roles.meets`) or a contact says that the
    matter is settled (`roles.settles`). Help desks call this the time to first response, taken here of every turn and
    not of the first alone.
    """
    open_: dict[str, Wait] = {}
    times: list[tuple[Contact, float]] = []
    unthreaded = 0
    for contact in contacts:
        within = contact.threads
        if asks(contact):
            if within:
                _ask(open_, contact)
            else:
                unthreaded += 1
        elif (
            within
            and not open_.keys().isdisjoint(within)
            and ((answered := answers(contact)) or meets(contact) or settles(contact))
        ):
            for wait in _waits(open_, within):
                for thread in wait.threads:
                    del open_[thread]
                if answered:
                    times.append((wait.contact, (contact.at - wait.contact.at) / 1000))
    return Waits(times, _waits(open_, open_), unthreaded)


def responses(found: Waits, now_ms: int) -> Responses:
    """The waits that were found; medians, since a few forgotten ones carry a mean."""
    times: dict[str, list[float]] = {}
    for contact, seconds in found.answered:
        times.setdefault(contact.channel, []).append(seconds)
    return Responses(
        _time([seconds for _, seconds in found.answered]),
        {channel: _time(each) for channel, each in sorted(times.items())},
        len(found.open),
        [_unanswered(wait, now_ms) for wait in found.open[: -NAMED - 1 : -1]],
        found.unthreaded,
    )


def _ask(open_: dict[str, Wait], contact: Contact) -> None:
    """Let the customer wait in the threads of this contact too; waits that it brings together are one."""
    first, *others = [*_waits(open_, contact.threads), Wait(contact)]
    first.asked += 1
    first.threads.update(contact.threads)
    for other in others:
        first.asked += other.asked
        first.threads |= other.threads
    open_ |= dict.fromkeys(first.threads, first)


def _waits(open_: dict[str, Wait], within: Iterable[str]) -> list[Wait]:
    """The waits of these threads, each once, the longest first."""
    found = {id(open_[thread]): open_[thread] for thread in within if thread in open_}
    return sorted(found.values(), key=lambda wait: wait.contact.id)


def _time(seconds: Sequence[float]) -> ResponseTime:
    return ResponseTime(len(seconds), round(median(seconds), 3) if seconds else None)


def _unanswered(wait: Wait, now_ms: int) -> Unanswered:
    first = wait.contact
    waiting = max(now_ms - first.at, 0) // 1000
    return Unanswered(first.id, wait.asked, first.channel, ids.from_unix_ms(first.at), waiting)
