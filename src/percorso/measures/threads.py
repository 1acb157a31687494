"""What contacts mean to each other: who reached out, what asks for an answer, what answers, and what settles a matter.

Every measure that needs one of these asks it here, so that no two figures disagree.
"""

from typing import Final

from percorso.measures.contacts import Contact

MESSAGES: Final = frozenset(("sms", "messaging", "email", "social", "mail", "fax", "review", "community"))
"""Channels in which an answer comes later, as a contact of its own."""
LIVE: Final = frozenset(("phone", "video", "chat", "store_visit", "field_visit"))
"""Channels in which customer and organisation meet, so that an answer is given on the spot."""

_REACTIONS: Final = frozenset((
    "delivered", "opened", "clicked", "bounced", "subscribed", "unsubscribed", "share", "reaction", "ad_view",
    "ad_click", "follow",
))  # fmt: skip
"""What is done in a mail or on a network without saying anything."""
_NOT_MET: Final = frozenset(("no_answer", "busy", "voicemail", "abandoned"))
_NOT_ARRIVED: Final = _NOT_MET - {"voicemail"} | {"bounced"}
_OURS: Final = ("outbound", "internal")
_SETTLED: Final = (None, "not_applicable")
_NEGATIVE_RATING: Final = 0.25
"""A rating of so much or less, from 0 to 1, is a complaint: one or two of five stars."""


def threads(contact: Contact) -> tuple[str, ...]:
    """The case and the conversation that a contact belongs to; contacts that share one are about the same matter."""
    if contact.case is None:
        return () if contact.conversation is None else (f"conversation {contact.conversation}",)
    if contact.conversation is None:
        return (f"case {contact.case}",)
    return f"case {contact.case}", f"conversation {contact.conversation}"


def reaches_out(contact: Contact) -> bool:
    """Whether the customer turned to the organisation: came to it, or wrote or called with something to say.

    Pages seen, purchases, self service and mere reactions (opened, clicked, liked …) are no such contacts.
    """
    return (
        contact.direction == "inbound"
        and (contact.channel in MESSAGES or contact.channel in LIVE)
        and contact.act not in _REACTIONS
    )


def asks(contact: Contact) -> bool:
    """Whether a contact leaves the customer waiting: a message, or a call, chat or visit that met nobody.

    One that already says it is resolved does not.
    """
    return (
        reaches_out(contact)
        and (contact.channel in MESSAGES or contact.outcome in _NOT_MET)
        and contact.resolution != "resolved"
    )


def answers(contact: Contact) -> bool:
    """Whether a contact of the same thread is an answer: a message or a call to the customer not known to have missed them.

    Invitations to surveys and advertisements are none.
    """
    return (
        contact.direction == "outbound"
        and (contact.channel in MESSAGES or contact.channel in LIVE)
        and contact.outcome not in _NOT_ARRIVED
        and contact.act != "bounced"
    )


def settles(contact: Contact) -> bool:
    """Whether a contact says that its matter is settled: resolved, or completed with nothing said of a resolution."""
    return contact.resolution == "resolved" or (contact.status == "completed" and contact.resolution in _SETTLED)


def complains(contact: Contact) -> bool:
    """Whether a contact is a complaint of the customer.

    That is: of a kind that begins with `complaint`, with the outcome `complained`, or a rating in the lowest quarter of
    its scale on a review site or in a forum. What goes out is none, be it the answer to a complaint or a newsletter
    that was reported as spam.
    """
    return contact.direction not in _OURS and (
        (contact.kind is not None and contact.kind.startswith("complaint"))
        or contact.outcome == "complained"
        or (contact.rating is not None and contact.rating <= _NEGATIVE_RATING)
    )
