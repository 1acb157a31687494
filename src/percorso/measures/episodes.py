"""Episodes: the journey cut where contact pauses or a case closes, and what the customer went through in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from percorso import ids
from percorso.measures.cases import Course, courses
from percorso.measures.contacts import Contact
from percorso.measures.counts import counts
from percorso.measures.evidence import Id
from percorso.measures.repeats import (
    FirstContactResolution,
    find_repeats,
    first_contact_resolution,
    first_contacts,
)

GAP: Final = timedelta(days=30)
"""A pause this long ends an episode, where nothing else is said."""

_MS: Final = timedelta(milliseconds=1)

End = Literal["pause", "case_closed", "open"]


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of the journey without a long pause, up to the closing of a case."""

    began_at: Annotated[datetime, Field(description="When its first interaction was.")]
    ended_at: Annotated[datetime, Field(description="When its last interaction was.")]
    first_interaction_id: Annotated[Id, Field(description="Its first interaction.")]
    last_interaction_id: Annotated[Id, Field(description="Its last interaction.")]
    ended_by: Annotated[
        End, Field(description="A pause, the closing of a case, or `open`: the last, which may still go on.")
    ]
    case: Annotated[str | None, Field(description="The case that was closed. Null: none.")]
    interactions: Annotated[int, Field(description="How many interactions it has.")]
    by_channel: Annotated[dict[str, int], Field(description="The same by channel, the most frequent first.")]
    channel_switches: Annotated[
        int, Field(description="How many times the customer reached out on another channel than the time before.")
    ]
    hand_offs: Annotated[
        int, Field(description="How many times a case or conversation passed from one agent to another.")
    ]
    first_contact_resolution: Annotated[
        FirstContactResolution,
        Field(description="Of the matters that began in it, how many were settled at once."),
    ]


@dataclass(frozen=True, slots=True)
class Effort:
    """What the customer went through in their episodes, taken together."""

    episodes: Annotated[int, Field(description="How many episodes there are, cut at pauses of 30 days.")]
    channel_switches: Annotated[int, Field(description="Switches of channel within them.")]
    hand_offs: Annotated[int, Field(description="Hand-offs between agents within them.")]
    first_contact_resolution: Annotated[
        FirstContactResolution, Field(description="Of the matters, how many were settled at once.")
    ]


class Stretch(NamedTuple):
    """The contacts of one episode, and the case whose closing ended it.

    `switches` are the contacts at which the customer had switched channel; `hand_offs` those at which the matter passed
    to another agent, once for each time.
    """

    within: Sequence[Contact]
    case: str | None
    switches: Sequence[Contact]
    hand_offs: Sequence[Contact]


def episodes(contacts: Sequence[Contact], *, gap: timedelta = GAP, now_ms: int) -> list[Episode]:
    """Cut contacts, in order of time, into episodes, oldest first; every contact is in exactly one.

    They are cut as `cut` says. The last is `open` unless a case closed it or the gap has passed since.
    """
    stretches = cut(contacts, courses(contacts), gap=gap)
    settled = dict(first_contacts(contacts, find_repeats(contacts)))
    found = [_episode(stretch, "pause", settled) for stretch in stretches[:-1]]
    if stretches:
        last = stretches[-1]
        passed = now_ms - last.within[-1].at > gap // _MS
        found.append(_episode(last, "pause" if passed else "open", settled))
    return found


def cut(contacts: Sequence[Contact], how_cases_went: Mapping[str, Course], *, gap: timedelta = GAP) -> list[Stretch]:
    """Cut contacts, in order of time, oldest first.

    A cut is made where more than `gap` passes between a contact and the next, and after the last contact of a case that
    is settled (`cases.courses`).
    """
    gap_ms = gap // _MS
    closed = {course.last: case for case, course in how_cases_went.items() if course.settled}
    found = []
    begin = 0
    for end, (contact, following) in enumerate(pairwise((*contacts, None)), 1):
        assert contact is not None  # noqa: S101 - only the last is, which follows
        case = closed.get(contact)
        if following is None or following.at - contact.at > gap_ms or case is not None:
            within = contacts[begin:end]
            found.append(Stretch(within, case, _switches(within), _hand_offs(within)))
            begin = end
    return found


def _episode(stretch: Stretch, otherwise: End, settled: Mapping[Contact, bool]) -> Episode:
    """The episode of a stretch, which ended `otherwise` than by the closing of a case, where none closed."""
    within = stretch.within
    first, last = within[0], within[-1]
    return Episode(
        began_at=ids.from_unix_ms(first.at),
        ended_at=ids.from_unix_ms(last.at),
        first_interaction_id=first.id,
        last_interaction_id=last.id,
        ended_by=otherwise if stretch.case is None else "case_closed",
        case=stretch.case,
        interactions=len(within),
        by_channel=counts(within).by_channel,
        channel_switches=len(stretch.switches),
        hand_offs=len(stretch.hand_offs),
        first_contact_resolution=first_contact_resolution(
            [settled[contact] for contact in within if contact in settled]
        ),
    )


def _switches(within: Sequence[Contact]) -> list[Contact]:
    reached_out = [contact for contact in within if contact.reaches_out]
    return [contact for before, contact in pairwise(reached_out) if before.channel != contact.channel]


def _hand_offs(within: Sequence[Contact]) -> list[Contact]:
    """Transfers, and changes of the agent between contacts of one case or conversation.

    A change is at the contact that the other agent had. The agent after a transfer is the one it was made to, not
    another hand-off.
    """
    agents: dict[str, str | None] = {}
    found = []
    for contact in within:
        thread = contact.case or contact.conversation or ""
        before = agents.get(thread)
        if contact.agent is not None and thread:
            if before is not None and before != contact.agent:
                found.append(contact)
            agents[thread] = contact.agent
        if contact.outcome == "transferred":
            found.append(contact)
            agents[thread] = None
    return found


def effort(stretches: Sequence[Stretch], first: Sequence[tuple[Contact, bool]]) -> Effort:
    """Episodes taken together, and the first contacts of matters, which are in one each."""
    return Effort(
        len(stretches),
        sum(len(stretch.switches) for stretch in stretches),
        sum(len(stretch.hand_offs) for stretch in stretches),
        first_contact_resolution([settled for _, settled in first]),
    )
