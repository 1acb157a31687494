"""Episodes: the journey cut where contact pauses or a case closes, and what the customer went through in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final, Literal

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


def episodes(contacts: Sequence[Contact], *, gap: timedelta = GAP, now_ms: int) -> list[Episode]:
    """Cut contacts, in order of time, into episodes, oldest first; every contact is in exactly one.

    A cut is made where more than `gap` passes between a contact and the next, and after the last contact of a case that
    is settled (`cases.courses`). The last episode is `open` unless a case closed it or the gap has passed since.
    """
    return cut(contacts, courses(contacts), first_contacts(contacts, find_repeats(contacts)), gap=gap, now_ms=now_ms)


def cut(
    contacts: Sequence[Contact],
    how_cases_went: Mapping[str, Course],
    first: Sequence[tuple[Contact, bool]],
    *,
    gap: timedelta,
    now_ms: int,
) -> list[Episode]:
    """The episodes, where the courses of cases and the first contacts of matters are known already."""
    gap_ms = gap // timedelta(milliseconds=1)
    closed = {course.last: case for case, course in how_cases_went.items() if course.settled}
    settled = dict(first)
    found = []
    begin = 0
    for end, (contact, following) in enumerate(pairwise((*contacts, None)), 1):
        assert contact is not None  # noqa: S101 - only the last is, which follows
        case = closed.get(contact)
        pause = (now_ms if following is None else following.at) - contact.at
        if following is None or pause > gap_ms or case is not None:
            by: End = "case_closed" if case is not None else "pause" if pause > gap_ms else "open"
            found.append(_episode(contacts[begin:end], by, case, settled))
            begin = end
    return found


def _episode(within: Sequence[Contact], by: End, case: str | None, settled: Mapping[Contact, bool]) -> Episode:
    first, last = within[0], within[-1]
    return Episode(
        began_at=ids.from_unix_ms(first.at),
        ended_at=ids.from_unix_ms(last.at),
        first_interaction_id=first.id,
        last_interaction_id=last.id,
        ended_by=by,
        case=case,
        interactions=len(within),
        by_channel=counts(within).by_channel,
        channel_switches=_switches(within),
        hand_offs=_hand_offs(within),
        first_contact_resolution=first_contact_resolution(
            [settled[contact] for contact in within if contact in settled]
        ),
    )


def _switches(within: Sequence[Contact]) -> int:
    channels = [contact.channel for contact in within if contact.reaches_out]
    return sum(before != after for before, after in pairwise(channels))


def _hand_offs(within: Sequence[Contact]) -> int:
    """Transfers, and changes of the agent between contacts of one case or conversation.

    The agent after a transfer is the one it was made to, not another hand-off.
    """
    agents: dict[str, str | None] = {}
    count = 0
    for contact in within:
        thread = contact.case or contact.conversation or ""
        before = agents.get(thread)
        if contact.agent is not None and thread:
            count += before is not None and before != contact.agent
            agents[thread] = contact.agent
        if contact.outcome == "transferred":
            count += 1
            agents[thread] = None
    return count


def effort(found: Sequence[Episode]) -> Effort:
    """Episodes taken together."""
    resolutions = [episode.first_contact_resolution for episode in found]
    resolved, of = sum(each.resolved for each in resolutions), sum(each.of for each in resolutions)
    return Effort(
        len(found),
        sum(episode.channel_switches for episode in found),
        sum(episode.hand_offs for episode in found),
        FirstContactResolution(resolved, of, round(resolved / of, 4) if of else None),
    )
