"""A contact: of a stored interaction, only what the measures need, read from its document as quickly as that goes."""

from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from sys import intern
from typing import Final

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.details import EmailEvent, PurchaseStatus, SocialAction, VisitPurpose
from percorso.interaction import Metric, Outcome, Resolution, SentimentLabel, Status

NO_CURRENCY: Final = "XXX"
"""ISO 4217's code for an amount whose currency is not known."""

MESSAGES: Final = frozenset(("sms", "messaging", "email", "social", "mail", "fax", "review", "community"))
"""Channels in which an answer comes later, as a contact of its own."""
LIVE: Final = frozenset(("phone", "video", "chat", "store_visit", "field_visit"))
"""Channels in which customer and organisation meet, so that an answer is given on the spot."""
ADDRESSED: Final = MESSAGES | LIVE
"""Channels in which one turns to the other."""

REACTIONS: Final = frozenset((
    "delivered", "opened", "clicked", "bounced", "subscribed", "unsubscribed", "share", "reaction", "ad_view",
    "ad_click", "follow",
))  # fmt: skip
"""What is done in a mail or on a network without saying anything."""
_BEST: Final = 5.0
_WORST: Final = 1.0
_SCALES: Final = {"nps": (0.0, 10.0), "csat": (1.0, 5.0), "ces": (1.0, 7.0), "stars": (1.0, 5.0), "thumbs": (0.0, 1.0)}
"""The usual scale of each metric, where the sender does not say."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An answer to a question about satisfaction; `scaled` from 0, the lowest answer possible, to 1, the highest."""

    metric: str
    score: float
    scaled: float


class Contact(msgspec.Struct, eq=False, gc=False):
    """One interaction, as the measures see it; each is equal to itself alone, and as quick a key as there is.

    `identity_id` is what it is stored under, `at` its Unix time in ms and `offset` the sender's offset from UTC in
    minutes, None where it was given in UTC. `threads` are the case and the conversation it belongs to: contacts that
    share one are about the same matter. `act` is what was done in a mail or on a network, `rating` a review's from 0 to
    1, `amount` what an order or a basket came to, `order` and `order_status` which order it is of and what became of
    it.

    `reaches_out`: the customer turned to the organisation, came to it, or wrote or called with something to say. Pages
    seen, purchases, self service and mere reactions (opened, clicked, liked …) are no such contacts.
    """

    id: UUID
    identity_id: UUID
    at: int
    channel: str
    kind: str | None
    function: str | None
    direction: str
    offset: int | None
    agent: str | None
    conversation: str | None
    case: str | None
    threads: tuple[str, ...]
    status: str | None
    outcome: str | None
    resolution: str | None
    sentiment: float | None
    answers: tuple[Answer, ...]
    topics: tuple[str, ...]
    act: str | None = None
    rating: float | None = None
    purpose: str | None = None
    amount: float | None = None
    currency: str = NO_CURRENCY
    order: str | None = None
    order_status: str | None = None
    reaches_out: bool = False


class Sentiment(msgspec.Struct, gc=False):
    """How the customer felt."""

    score: float | None = None
    label: SentimentLabel | None = None


class Feedback(msgspec.Struct, gc=False):
    """One answer, as it was given."""

    metric: Metric
    score: float | None = None
    min: float | None = None
    max: float | None = None


class _Document(msgspec.Struct, gc=False):
    """Of a document, what is not in the columns beside it and the measures need.

    Words of a closed list are read as such: then there is one object of each, not one a contact.
    """

    occurred_at: str | None = None
    agent: str | None = None
    conversation: str | None = None
    case: str | None = None
    status: Status | None = None
    outcome: Outcome | None = None
    resolution: Resolution | None = None
    sentiment: Sentiment | None = None
    feedback: list[Feedback] | None = None
    topics: tuple[str, ...] | None = None
    details: msgspec.Raw = msgspec.Raw()


class Money(msgspec.Struct, gc=False):
    """An amount of money."""

    amount: float | None = None
    currency: str | None = None


class Rating(msgspec.Struct, gc=False):
    """A rating on a site's own scale."""

    value: float | None = None
    best: float | None = None
    worst: float | None = None


class _Mail(msgspec.Struct, gc=False):
    event: EmailEvent | None = None


class _Social(msgspec.Struct, gc=False):
    action: SocialAction | None = None


class Visit(msgspec.Struct, gc=False):
    """Why someone came, and what they bought."""

    purpose: VisitPurpose | None = None
    basket: Money | None = None


class _Site(msgspec.Struct, gc=False):
    rating: Rating | None = None


class _Purchase(msgspec.Struct, gc=False):
    order_id: str
    total: Money | None = None
    status: PurchaseStatus | None = None


_document = msgspec.json.Decoder(_Document).decode
read_mail = msgspec.json.Decoder(_Mail | None).decode
read_social = msgspec.json.Decoder(_Social).decode
read_visit = msgspec.json.Decoder(Visit | None).decode
read_site = msgspec.json.Decoder(_Site).decode
_purchase = msgspec.json.Decoder(_Purchase).decode

_LABELS: Final = {"positive": 0.5, "neutral": 0.0, "mixed": 0.0, "negative": -0.5}
"""The score of a feeling that was only put in a word: the middle of its half of the scale."""


def read(
    identity_id: UUID,
    interaction_id: UUID,
    channel: str,
    kind: str | None,
    function: str | None,
    direction: str,
    document: str | bytes,
) -> Contact:
    """The contact of a stored interaction: its columns and its document, which must be one that percorso stored."""
    said = _document(document)
    contact = Contact(
        interaction_id,
        identity_id,
        ids.occurred_ms(interaction_id.bytes),
        intern(channel),
        None if kind is None else intern(kind),
        None if function is None else intern(function),
        intern(direction),
        None if said.occurred_at is None else _offset(said.occurred_at),
        said.agent or None,
        said.conversation or None,
        said.case or None,
        _threads(said),
        said.status,
        said.outcome,
        said.resolution,
        None if said.sentiment is None else _felt(said.sentiment),
        () if said.feedback is None else answers_of(said.feedback),
        () if said.topics is None else topics_of(said.topics),
    )
    if (add := _DETAILS.get(channel)) is not None and said.details:
        add(contact, said.details)
    contact.reaches_out = direction == "inbound" and channel in ADDRESSED and contact.act not in REACTIONS
    return contact


@lru_cache(4096)
def topics_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """Topics without regard to their case; most senders name the same few."""
    return tuple(topic.casefold() for topic in given)


def _threads(said: _Document) -> tuple[str, ...]:
    """Its case and its conversation, told apart from each other."""
    if not said.case:
        return (f"conversation {said.conversation}",) if said.conversation else ()
    if not said.conversation:
        return (f"case {said.case}",)
    return f"case {said.case}", f"conversation {said.conversation}"


def _offset(moment: str) -> int | None:
    """The offset of an RFC 3339 moment in minutes.

    `Z` and `-00:00` say that the moment is known and the local time is not (RFC 9557, section 2).
    """
    if moment[-1] in "Zz" or moment.endswith("-00:00"):
        return None
    minutes = int(moment[-5:-3]) * 60 + int(moment[-2:])
    return -minutes if moment[-6] == "-" else minutes


def _felt(sentiment: Sentiment) -> float | None:
    if sentiment.score is None:
        return None if sentiment.label is None else _LABELS.get(sentiment.label)
    return sentiment.score


def answers_of(feedback: list[Feedback]) -> tuple[Answer, ...]:
    """The answers that have a score, on a scale that is said or usual."""
    found = []
    for each in feedback:
        usual = _SCALES.get(each.metric)
        low = each.min if each.min is not None else usual and usual[0]
        high = each.max if each.max is not None else usual and usual[1]
        if each.score is not None and low is not None and high is not None and low < high:
            scaled = _scaled(each.score, low, high)
            if scaled is not None:
                found.append(Answer(each.metric, each.score, scaled))
    return tuple(found)


def _scaled(value: float, low: float, high: float) -> float | None:
    """Where a value lies on a scale, from 0 to 1; None on one without ends, or longer than a double can say."""
    span = high - low
    return min(max((value - low) / span, 0.0), 1.0) if span and isfinite(span) else None


def _add_mail(contact: Contact, details: msgspec.Raw) -> None:
    if mail := read_mail(details):
        contact.act = mail.event


def _add_social(contact: Contact, details: msgspec.Raw) -> None:
    contact.act = read_social(details).action


def _add_visit(contact: Contact, details: msgspec.Raw) -> None:
    if visit := read_visit(details):
        contact.purpose = visit.purpose
        _add_money(contact, visit.basket)


def _add_site(contact: Contact, details: msgspec.Raw) -> None:
    if (rating := read_site(details).rating) is not None:
        contact.rating = rated(rating)


def rated(rating: Rating) -> float | None:
    """A rating from 0 to 1; None where there is none."""
    if rating.value is None:
        return None
    # The bounds of a rating that names none are those of schema.org's Rating.
    best = _BEST if rating.best is None else rating.best
    worst = _WORST if rating.worst is None else rating.worst
    return _scaled(rating.value, worst, best)


def _add_purchase(contact: Contact, details: msgspec.Raw) -> None:
    purchase = _purchase(details)
    contact.order, contact.order_status = purchase.order_id, purchase.status
    _add_money(contact, purchase.total)


def _add_money(contact: Contact, money: Money | None) -> None:
    if money is not None and money.amount is not None:
        contact.amount, contact.currency = money.amount, money.currency or NO_CURRENCY


_DETAILS: Final[dict[str, Callable[[Contact, msgspec.Raw], None]]] = {
    "email": _add_mail,
    "social": _add_social,
    "store_visit": _add_visit,
    "field_visit": _add_visit,
    "kiosk": _add_visit,
    "event": _add_visit,
    "review": _add_site,
    "community": _add_site,
    "purchase": _add_purchase,
}
