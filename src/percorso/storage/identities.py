"""Identities, the links between them, and the customers that follow from the links.

Customers are a pure function of the set of active links, in whatever order those arrive; a link that was cut by hand
or is only suspected does not count:

- the strong identities of a customer are a connected component over the links between strong identities;
- a weak identity belongs to the customer that all its links to strong identities lead to; where they lead to more
  than one it is shared (two people on one device) and stands alone, as it does where they lead to none;
- links between two weak identities are only recorded.

`identities.customer_id` keeps the result. A customer's id is the identity id of its oldest strong identity, so every
id a customer ever had is some identity's id and keeps resolving, and taking a link away gives the parts their ids
back. No interaction is touched by any of this.

Changes to links are made by one transaction at a time (an advisory lock, taken last and held until the commit), so
they can neither miss each other nor deadlock; interactions that bring no new link never take it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


class Identifier(msgspec.Struct, frozen=True, gc=False):
    """A normalised identifier and the identity id that stands for it; a process remembers hundreds of thousands."""

    id: UUID
    kind: str
    value: str
    strong: bool


class Link(NamedTuple):
    """Two identities seen in one interaction: `a < b`."""

    a: UUID
    b: UUID
    interaction_id: UUID
    source: str
    at: datetime


async def hold(session: WriteSession, identity_id: UUID) -> bool:
    """Keep an identity from being deleted until the transaction ends, nothing else; False where there is none."""
    found = await session.fetchval("SELECT true FROM identities WHERE identity_id = $1 FOR KEY SHARE", identity_id)
    return bool(found)


async def hold_all(session: WriteSession, identity_ids: Iterable[UUID]) -> set[UUID]:
    """As `hold`, of several: those of them that there are. Relies on the primary key."""
    # In one order, so that two who hold the same wait for each other in one direction only.
    records = await session.fetch(
        "SELECT identity_id FROM identities WHERE identity_id = ANY($1) ORDER BY identity_id FOR KEY SHARE",
        list(identity_ids),
    )
    return {record["identity_id"] for record in records}


async def customers_of(session: WriteSession, identity_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """The customer of each of these identities, as this transaction sees it."""
    records = await session.fetch(
        "SELECT identity_id, customer_id FROM identities WHERE identity_id = ANY($1)", list(identity_ids)
    )
    return {record["identity_id"]: record["customer_id"] for record in records}


async def known_as(session: WriteSession, identity_ids: Sequence[UUID]) -> list[tuple[UUID, str, str, UUID]]:
    """The id, kind, normalised value and customer of each of these identities. Relies on the primary key."""
    records = await session.fetch(
        "SELECT identity_id, kind, value, customer_id FROM identities WHERE identity_id = ANY($1)", identity_ids
    )
    return list(map(tuple, records))


async def links_of(session: WriteSession, identity_ids: Sequence[UUID], *, most: int) -> list[tuple[UUID, UUID]]:
    """The active links of these identities, no more than `most`.

    Relies on the primary key and on identity_links_identity_b_idx.
    """
    records = await session.fetch(
        "SELECT identity_a, identity_b FROM identity_links WHERE identity_a = ANY($1) AND state = 'active' UNION ALL "
        "SELECT identity_a, identity_b FROM identity_links WHERE identity_b = ANY($1) AND state = 'active' LIMIT $2",
        identity_ids,
        most,
    )
    return [(record["identity_a"], record["identity_b"]) for record in records]
