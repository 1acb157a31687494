"""How much contact there was, by what means, and who began it; and by what means and when the customer prefers it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Annotated, Final, Literal

from pydantic import Field

from percorso.measures.contacts import Contact

_HOURS: Final = 24
_MINUTE: Final = 60_000
_WINDOW: Final = 3
"""The length of the span of hours in which a customer is most often there."""

ZoneFrom = Literal["trait", "offsets", "default"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many interactions there were of each kind."""

    by_channel: Annotated[dict[str, int], Field(description="Interactions by channel.")]
    by_function: Annotated[
        dict[str, int], Field(description="Interactions by function; those that name none are left out.")
    ]
    by_direction: Annotated[dict[str, int], Field(description="Interactions by who began them.")]


@dataclass(frozen=True, slots=True)
class PreferredHours:
    """A span of hours of the day."""

    from_hour: Annotated[int, Field(ge=0, le=23, description="The hour it begins, in the customer's time zone.")]
    to_hour: Annotated[int, Field(ge=0, le=23, description="The hour at which it ends; past midnight it is smaller.")]
    share: Annotated[float, Field(ge=0, le=1, description="The share of inbound interactions that fall into it.")]


@dataclass(frozen=True, slots=True)
class Preferred:
    """By what means and when the customer gets in touch."""

    channel: Annotated[
        str | None,
        Field(description="The channel on which the customer most often reaches out; of several, the latest used."),
    ]
    hours: Annotated[
        PreferredHours | None,
        Field(description="The three hours of the day with the most inbound interactions. Null: none."),
    ]
    by_hour: Annotated[list[int], Field(description="Inbound interactions in each of the 24 hours of the day.")]
    time_zone: Annotated[str, Field(description="The zone of these hours: an IANA name, or an offset from UTC.")]
    time_zone_from: Annotated[
        ZoneFrom,
        Field(
            description="How it is known: `trait`, the customer's trait `time_zone` or `timezone`; `offsets`, what is "
            "most frequent in `occurred_at`; `default`, UTC for want of either."
        ),
    ]


def counts(contacts: Sequence[Contact]) -> Counts:
    """Count the contacts, the most frequent word of each kind first."""
    every = Counter((contact.channel, contact.function, contact.direction) for contact in contacts)
    found: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    for words, number in every.items():
        for counter, word in zip(found, words, strict=True):
            if word is not None:
                counter[word] += number
    by_channel, by_function, by_direction = (dict(counter.most_common()) for counter in found)
    return Counts(by_channel, by_function, by_direction)


def zone_of(contacts: Sequence[Contact], given: tzinfo | None) -> tuple[tzinfo, ZoneFrom]:
    """The customer's zone and how it is known: the one given, or else the offset that senders most often gave."""
    if given is not None:
        return given, "trait"
    offsets = Counter(contact.offset for contact in contacts if contact.offset is not None)
    if not offsets:
        return UTC, "default"
    [(minutes, _)] = offsets.most_common(1)
    return timezone(timedelta(minutes=minutes)), "offsets"


def preferred(contacts: Sequence[Contact], zone: tzinfo, zone_from: ZoneFrom) -> Preferred:
    """By what means the customer reaches out, and at which hours of their own day they are there.

    Hours are told from every inbound contact, pages seen and purchases included: they say when someone is awake and
    free. Where the zone is only known from offsets, each contact is at the hour that its sender wrote, so that summer
    time moves none. The span is the circular window of three hours with the most of them; of several the earliest.
    """
    by_hour = [0] * _HOURS
    used: Counter[str] = Counter()
    latest: dict[str, int] = {}
    for contact in contacts:
        if contact.direction == "inbound":
            by_hour[_hour(contact, zone, zone_from)] += 1
            if contact.reaches_out:
                used[contact.channel] += 1
                latest[contact.channel] = contact.at
    channel = max(used, key=lambda each: (used[each], latest[each]), default=None)
    return Preferred(channel, _busiest(by_hour), by_hour, str(zone).removeprefix("UTC") or "UTC", zone_from)


def _hour(contact: Contact, zone: tzinfo, zone_from: ZoneFrom) -> int:
    if zone_from == "offsets" and contact.offset is not None:
        return (contact.at // _MINUTE + contact.offset) // 60 % _HOURS
    return datetime.fromtimestamp(contact.at / 1000, zone).hour


def _busiest(by_hour: Sequence[int]) -> PreferredHours | None:
    total = sum(by_hour)
    if not total:
        return None
    twice = [*by_hour, *by_hour]
    within = [sum(twice[hour : hour + _WINDOW]) for hour in range(_HOURS)]
    begin = within.index(max(within))
    return PreferredHours(begin, (begin + _WINDOW) % _HOURS, round(within[begin] / total, 4))
