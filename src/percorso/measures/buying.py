"""The buying rhythm: recency, frequency, monetary value, and whether the next purchase is overdue.

Recency, frequency and monetary value are those of Hughes, Strategic Database Marketing (1994). That a customer is late
by the measure of their own past is the idea of Fader, Hardie and Lee (Marketing Science 24, 2005), here without their
model.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from math import copysign, fsum
from statistics import median
from sys import float_info
from typing import Annotated, Final

from pydantic import Field

from percorso import ids
from percorso.measures.contacts import Contact
from percorso.measures.evidence import Id

LATE: Final = 2.0
"""A purchase is overdue once the pause is so many times the usual one."""
NAMED_PURCHASES: Final = 3

_FEWEST_DAYS: Final = 3
"""Two intervals at least: one is no habit."""
_GIVEN_BACK: Final = frozenset(("returned", "refunded"))
VISITS: Final = frozenset(("store_visit", "field_visit", "kiosk", "event"))
_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in one currency."""

    amount: Annotated[float, Field(description="In all, in the currency's main unit.")]
    purchases: Annotated[int, Field(description="In so many purchases.")]
    mean: Annotated[float, Field(description="What a purchase came to on average.")]


@dataclass(frozen=True, slots=True)
class Buying:
    """How the customer buys."""

    purchases: Annotated[int, Field(description="Frequency: how many purchases were made and kept.")]
    given_back: Annotated[int, Field(description="How many were returned or refunded, and are not counted.")]
    first_at: Annotated[datetime | None, Field(description="When the first was. Null: there are none.")]
    last_at: Annotated[datetime | None, Field(description="When the last was. Null: there are none.")]
    recency_days: Annotated[float | None, Field(description="Recency: days from the last to `as_of`.")]
    monetary: Annotated[
        dict[str, Spent], Field(description="By ISO 4217 currency, `XXX` where none is given; the most frequent first.")
    ]
    usual_interval_days: Annotated[
        float | None,
        Field(description="The median of days between days with a purchase. Null: fewer than three such days."),
    ]
    due_at: Annotated[
        datetime | None, Field(description="When the next is due: the last and one usual interval. Null: not known.")
    ]
    overdue: Annotated[
        bool | None, Field(description="Whether the pause is more than twice the usual interval. Null: not known.")
    ]
    latest: Annotated[list[Id], Field(description="The latest purchases' interactions, newest first; at most 3.")]


@dataclass(frozen=True, slots=True)
class _Purchase:
    contact: Contact
    amount: float | None
    currency: str


def buying(contacts: Sequence[Contact], now_ms: int, zone: tzinfo) -> Buying:
    """The rhythm of the purchases among contacts in order of time.

    A purchase is an order (channel `purchase`), counted once at its first contact however often its state is told, with
    the latest total told; or a visit with a basket that cost something or with the purpose `purchase`. One that was
    returned or refunded, in whole or part, is none. Purchases of one day, in the customer's zone, are one for the usual
    interval.
    """
    made, given_back = _purchases(contacts)
    monetary = _monetary(made)
    if not made:
        return Buying(0, given_back, None, None, None, monetary, None, None, None, [])
    first, last = made[0].contact.at, made[-1].contact.at
    recency = max(now_ms - last, 0) / _DAY
    days = list(dict.fromkeys(datetime.fromtimestamp(each.contact.at / 1000, zone).date() for each in made))
    known = len(days) >= _FEWEST_DAYS
    usual = float(median((later - earlier).days for earlier, later in pairwise(days))) if known else None
    return Buying(
        purchases=len(made),
        given_back=given_back,
        first_at=ids.from_unix_ms(first),
        last_at=ids.from_unix_ms(last),
        recency_days=round(recency, 2),
        monetary=monetary,
        usual_interval_days=usual,
        due_at=None if usual is None else ids.from_unix_ms(last) + timedelta(days=usual),
        overdue=None if usual is None else recency > LATE * usual,
        latest=[each.contact.id for each in made[: -NAMED_PURCHASES - 1 : -1]],
    )


def _purchases(contacts: Iterable[Contact]) -> tuple[list[_Purchase], int]:
    """What was bought and kept, in order of time; and how much was given back."""
    orders: dict[str, _Purchase | None] = {}
    made: dict[str, _Purchase] = {}
    for contact in contacts:
        if contact.order is not None:
            name = f"order {contact.order}"
            if contact.order_status in _GIVEN_BACK:
                orders[name] = None
            elif name not in orders:
                orders[name] = _Purchase(contact, contact.amount, contact.currency)
            elif (known := orders[name]) is not None and contact.amount is not None:
                orders[name] = _Purchase(known.contact, contact.amount, contact.currency)
        elif contact.channel in VISITS and bought(contact.amount, contact.purpose, contact.outcome):
            made[f"visit {contact.id}"] = _Purchase(contact, contact.amount, contact.currency)
    kept = [order for order in orders.values() if order is not None]
    every = sorted([*kept, *made.values()], key=lambda purchase: purchase.contact.id)
    return every, len(orders) - len(kept)


def bought(amount: float | None, purpose: str | None, outcome: str | None) -> bool:
    """Whether something was bought on a visit: its basket's amount, its purpose and outcome say so."""
    if purpose == "return":
        return False
    return amount > 0 if amount is not None else purpose == "purchase" or outcome == "purchased"


def _monetary(made: Sequence[_Purchase]) -> dict[str, Spent]:
    paid = [(each.currency, each.amount) for each in made if each.amount is not None]
    spent = {}
    for currency, purchases in Counter(currency for currency, _ in paid).most_common():
        amount = _total([amount for each, amount in paid if each == currency])
        spent[currency] = Spent(round(amount, 4), purchases, round(amount / purchases, 4))
    return spent


def _total(amounts: Sequence[float]) -> float:
    """Their sum, or the most that a double can say: each is finite, and together they need not be."""
    try:
        return fsum(amounts)
    except OverflowError:
        return copysign(float_info.max, sum(amounts))
