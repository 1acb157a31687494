"""What a contact is in the customer's matter: asking for an answer, answering, settling, complaining.

Every measure that needs one of these asks it here, so that no two figures disagree.
"""

from typing import Final

from percorso.measures.contacts import ADDRESSED, LIVE, MESSAGES, Contact

_NOT_MET: Final = frozenset(("no_answer", "busy", "voicemail", "abandoned"))
_NOT_ARRIVED: Final = _NOT_MET - {"voicemail"} | {"bounced"}
_OURS: Final = ("outbound", "internal")
_SETTLED: Final = (None, "not_applicable")
_NEGATIVE_RATING: Final = 0.25
"""A rating of so much or less, from 0 to 1, is a complaint: one or two of five stars."""


def asks(contact: Contact) -> bool:
    """Whether a contact leaves the customer waiting: a message, or a call, chat or visit that met nobody.

    One that already says it is resolved does not.
    """
    return (
        contact.reaches_out
        and (contact.channel in MESSAGES or contact.outcome in _NOT_MET)
        and contact.resolution != "resolved"
    )


def answers(contact: Contact) -> bool:
    """Whether a contact is an answer in its threads: a message or call to the customer, not known to have missed them.

    Invitations to surveys and advertisements are none.
    """
    return (
        contact.direction == "outbound"
        and contact.channel in ADDRESSED
        and contact.outcome not in _NOT_ARRIVED
        and contact.act != "bounced"
    )


def meets(contact: Contact) -> bool:
    """Whether the customer reached somebody who could answer on the spot."""
    return contact.reaches_out and contact.channel in LIVE and contact.outcome not in _NOT_MET


def settles(contact: Contact) -> bool:
    """Whether a contact says that its matter is settled: resolved, or completed with nothing said of a resolution."""
    return contact.resolution == "resolved" or (contact.status == "completed" and contact.resolution in _SETTLED)


def complains(contact: Contact) -> bool:
    """Whether a contact is a complaint of the customer.

    That is: of a kind that begins with `complaint`, with the outcome `complained`, or a rating in the lowest quarter of
    its scale on a review site or in a forum. What goes out is none, be it the answer to a complaint or a newsletter
    that was reported as spam.
    """
    return is_complaint(contact.direction, contact.kind, contact.outcome, contact.rating)


def is_complaint(direction: str, kind: str | None, outcome: str | None, rating: float | None) -> bool:
    """The same of a contact that is not read as one."""
    return direction not in _OURS and (
        is_kind_of_complaint(kind) or outcome == "complained" or (rating is not None and rating <= _NEGATIVE_RATING)
    )


def is_kind_of_complaint(kind: str | None) -> bool:
    """Whether what is of this kind complains, unless it goes out."""
    return kind is not None and kind.startswith("complaint")
