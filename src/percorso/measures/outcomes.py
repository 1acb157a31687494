"""What came of each contact, so that it can be counted by touchpoint and time as the summary counts it by customer."""

from collections import Counter
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.measures.findings import Findings


class Outcome(NamedTuple):
    """What came of one contact; over all contacts of a customer, the sums are the figures of the summary.

    `response_seconds`: after how long the customer was answered, on the contact that began the wait (None: it began
    none, or none that was answered). `waiting`: it began a wait that goes on. `resolved_first`: whether this first
    contact of a matter settled it (None: it is no first one, or does not say how it ended). `repeat`: it is about what
    an earlier one was about already. `hand_offs`: how many times the matter passed to another agent with it.
    `switched`: the customer reached out on another channel than the time before.
    """

    identity_id: UUID
    interaction_id: UUID
    response_seconds: float | None
    waiting: bool
    resolved_first: bool | None
    repeat: bool
    hand_offs: int
    switched: bool


def outcomes(found: Findings) -> list[Outcome]:
    """The outcomes of those contacts of which there is anything to say, in order of time.

    Each is what `responses.find_waits`, `repeats.first_contacts`, `repeats.find_repeats` and `episodes.cut` found.
    """
    answered = dict(found.waits.answered)
    waiting = {wait.contact for wait in found.waits.open}
    settled = dict(found.first_contacts)
    repeated = {repeat.contact for repeat in found.repeats}
    switched = {contact for stretch in found.stretches for contact in stretch.switches}
    hand_offs = Counter(contact for stretch in found.stretches for contact in stretch.hand_offs)
    told = answered.keys() | waiting | settled.keys() | repeated | switched | hand_offs.keys()
    if not told:
        return []
    return [
        Outcome(
            contact.identity_id,
            contact.id,
            answered.get(contact),
            contact in waiting,
            settled.get(contact),
            contact in repeated,
            hand_offs[contact],
            contact in switched,
        )
        for contact in found.contacts
        if contact in told
    ]
