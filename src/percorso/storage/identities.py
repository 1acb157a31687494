"""Identities, the links between them, and the customers that follow from the links.

Customers are a pure function of the set of links, in whatever order those arrive:

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

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


class Identifier(NamedTuple):
    """A normalised identifier and the identity id that stands for it."""

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


async def customers_of(session: WriteSession, identity_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """The customer of each of these identities, as this transaction sees it."""
    records = await session.fetch(
        "SELECT identity_id, customer_id FROM identities WHERE identity_id = ANY($1)", list(identity_ids)
    )
    return {record["identity_id"]: record["customer_id"] for record in records}
