"""Contacts: every interaction of a customer, read for what is measured of it."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from operator import attrgetter
from typing import Final

import msgspec
from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids, measures
from percorso.measures import Contact
from percorso.queries import customers, traits
from percorso.storage.database import ReadSession
from percorso.storage.traits import Trait

MOST: Final = 100_000
"""Contacts looked at, the latest: some 70 MB of them, and a second of reading and computing."""
ZONES: Final = ("time_zone", "timezone")
"""The traits that say in which time zone a customer lives, by its IANA name."""

_SLICE: Final = 500
"""Rows that are in memory as documents at once, twice: some 800 KB, at most 64 MiB."""


@dataclass(frozen=True, slots=True)
class History:
    """The contacts of a customer in order of time, and the time zone that a trait says they live in.

    `truncated_before`: there were more, before that moment.
    """

    customer_id: UUID
    contacts: Sequence[Contact]
    zone: tzinfo | None
    truncated_before: datetime | None


async def of_customer(
    session: ReadSession, identity: UUID, *, since: datetime | None = None, until: datetime | None = None
) -> History:
    """The contacts of the customer whom this identity belongs to now; UnknownCustomer where it is none.

    Relies on the primary key and `identities_customer_id_idx` of identities, on the primary key `(identity_id, id)` of
    interactions, and on the index of traits. Of more than MOST contacts it reads the latest.
    """
    low = ids.LOWEST if since is None else ids.first_id_at(since)
    high = ids.HIGHEST if until is None else ids.first_id_at(until)
    async with session.transaction(isolation="repeatable_read", readonly=True):
        customer = await customers.by_identity(session, identity)
        zone = zone_of(await traits.current(session, customer.identity_ids))
        contacts = await _read(session, customer.identity_ids, low, high)
        truncated_before = None
        if len(contacts) > MOST:
            contacts.clear()
            low = await _latest_from(session, customer.identity_ids, low, high)
            contacts = await _read(session, customer.identity_ids, low, high)
            truncated_before = ids.from_unix_ms(ids.occurred_ms(low.bytes))
    contacts.sort(key=attrgetter("id"))
    return History(customer.customer_id, contacts, zone, truncated_before)


def zone_of(said: Iterable[Trait]) -> tzinfo | None:
    """The zone of the first of the traits ZONES that names one."""
    values = {trait.name: trait.value for trait in said}
    for name in ZONES:
        value = values.get(name)
        if value is not None and (zone := measures.zone(msgspec.json.decode(value))):
            return zone
    return None


async def _read(session: ReadSession, identity_ids: Sequence[UUID], low: UUID, high: UUID) -> list[Contact]:
    """The contacts in this range of ids, in no order; where they are too many, no more than MOST and one slice.

    They are sorted once they are small: the database would sort them together with their documents, on disk. While a
    thread reads one slice the database looks for the next.
    """
    rows = await session.cursor(
        "SELECT identity_id, id, channel, kind, function, direction, document::text FROM interactions "
        "WHERE identity_id = ANY($1) AND id >= $2 AND id < $3",
        identity_ids,
        low,
        high,
    )
    contacts: list[Contact] = []
    found = await rows.fetch(_SLICE)
    while found and len(contacts) <= MOST:
        found, read = await asyncio.gather(rows.fetch(_SLICE), asyncio.to_thread(_contacts, found))
        contacts += read
    return contacts


def _contacts(rows: Sequence[Record]) -> list[Contact]:
    return [measures.read(*row) for row in rows]


async def _latest_from(session: ReadSession, identity_ids: Sequence[UUID], low: UUID, high: UUID) -> UUID:
    """The id from which on there are MOST interactions in this range. Relies on the primary key alone."""
    found: UUID = await session.fetchval(
        "SELECT id FROM interactions WHERE identity_id = ANY($1) AND id >= $2 AND id < $3 "
        "ORDER BY id DESC OFFSET $4 LIMIT 1",
        identity_ids,
        low,
        high,
        MOST - 1,
    )
    return found
