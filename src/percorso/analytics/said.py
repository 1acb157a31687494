"""Of a stored document, what is counted and is not in the columns beside it."""

from collections.abc import Callable
from typing import Final

import msgspec

from percorso.details import PurchaseStatus
from percorso.interaction import Directness, Outcome, Resolution
from percorso.measures import buying, contacts
from percorso.measures.contacts import Feedback, Money, Sentiment

QUEUED: Final = frozenset(("phone", "video", "chat"))
"""Channels in which customers wait in a queue, and may give up."""
_BOUGHT: Final = (None, "placed", "paid")


class Said(msgspec.Struct, gc=False):
    """What is read of a document."""

    ended_at: str | None = None
    directness: Directness | None = None
    agent: str | None = None
    location: str | None = None
    campaign: str | None = None
    outcome: Outcome | None = None
    resolution: Resolution | None = None
    sentiment: Sentiment | None = None
    feedback: list[Feedback] | None = None
    topics: tuple[str, ...] | None = None
    details: msgspec.Raw = msgspec.Raw()


class Told(msgspec.Struct, gc=False):
    """What details say.

    `wait` and `handling` in seconds, `rating` from 0 to 1; `reacts`: the customer says nothing with it; `bought`: it is
    a purchase.
    """

    wait: float | None = None
    handling: float | None = None
    rating: float | None = None
    cost: Money | None = None
    reacts: bool = False
    bought: bool = False


class _Call(msgspec.Struct, gc=False):
    wait_seconds: float | None = None
    duration_seconds: float | None = None


class _Chat(msgspec.Struct, gc=False):
    duration_seconds: float | None = None


class _Placement(msgspec.Struct, gc=False):
    cost: Money | None = None


class _Purchase(msgspec.Struct, gc=False):
    status: PurchaseStatus | None = None


read: Final = msgspec.json.Decoder(Said).decode
_call = msgspec.json.Decoder(_Call | None).decode
_chat = msgspec.json.Decoder(_Chat | None).decode
_placement = msgspec.json.Decoder(_Placement | None).decode
_purchase = msgspec.json.Decoder(_Purchase).decode


def tell(channel: str, said: Said) -> Told | None:
    """What the details of this channel say; None: nothing that is counted."""
    if not said.details and channel not in buying.VISITS:
        return None
    how = _TELL.get(channel)
    return None if how is None else how(said)


def _tell_call(said: Said) -> Told | None:
    call = _call(said.details)
    return call and Told(wait=call.wait_seconds, handling=call.duration_seconds)


def _tell_chat(said: Said) -> Told | None:
    chat = _chat(said.details)
    return chat and Told(handling=chat.duration_seconds)


def _tell_mail(said: Said) -> Told | None:
    mail = contacts.read_mail(said.details)
    return mail and Told(reacts=mail.event in contacts.REACTIONS)


def _tell_social(said: Said) -> Told:
    return Told(reacts=contacts.read_social(said.details).action in contacts.REACTIONS)


def _tell_site(said: Said) -> Told | None:
    rating = contacts.read_site(said.details).rating
    return None if rating is None else Told(rating=contacts.rated(rating))


def _tell_placement(said: Said) -> Told | None:
    placement = _placement(said.details)
    return placement and Told(cost=placement.cost)


def _tell_visit(said: Said) -> Told:
    # The outcome alone may say it.
    visit = (contacts.read_visit(said.details) if said.details else None) or contacts.Visit()
    amount = None if visit.basket is None else visit.basket.amount
    return Told(bought=buying.bought(amount, visit.purpose, said.outcome))


def _tell_purchase(said: Said) -> Told:
    return Told(bought=_purchase(said.details).status in _BOUGHT)


_TELL: Final[dict[str, Callable[[Said], Told | None]]] = {
    "phone": _tell_call,
    "video": _tell_call,
    "chat": _tell_chat,
    "email": _tell_mail,
    "social": _tell_social,
    "review": _tell_site,
    "community": _tell_site,
    "mail": _tell_placement,
    "fax": _tell_placement,
    "signage": _tell_placement,
    "ad": _tell_placement,
    "purchase": _tell_purchase,
    **dict.fromkeys(buying.VISITS, _tell_visit),
}
