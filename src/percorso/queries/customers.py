"""Customers: who they are, and how much contact there was."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import UnknownCustomer
from percorso.storage.database import ReadSession


@dataclass(frozen=True, slots=True)
class Identity:
    """One identifier of a customer."""

    identity_id: UUID
    kind: str
    value: str
    strong: bool
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer: the identities that are one person, strong ones and older ones first."""

    customer_id: UUID
    identities: Sequence[Identity]

    @property
    def identity_ids(self) -> list[UUID]:
        """The ids of the identities."""
        return [identity.identity_id for identity in self.identities]


@dataclass(frozen=True, slots=True)
class Contact:
    """How much contact there was with a customer."""

    interactions: int
    by_channel: dict[str, int]
    first_at: datetime | None
    last_at: datetime | None


async def by_identity(session: ReadSession, identity_id: UUID) -> Customer:
    """The customer this identity belongs to now; every id a customer ever had is an identity's.

    Relies on the primary key of identities and on `identities_customer_id_idx`.
    """
    rows = await session.fetch(
        "SELECT m.identity_id, m.kind, m.value, m.strong, m.first_seen_at, m.customer_id "
        "FROM identities one JOIN identities m ON m.customer_id = one.customer_id "
        "WHERE one.identity_id = $1 ORDER BY m.strong DESC, m.first_seen_at, m.identity_id",
        identity_id,
    )
    if not rows:
        raise UnknownCustomer("No identifier and no customer id matches.")
    return Customer(rows[0]["customer_id"], [Identity(*row[:-1]) for row in rows])


async def customer_ids(session: ReadSession, identity_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The present customer of each of these identities. Relies on the primary key."""
    rows = await session.fetch(
        "SELECT identity_id, customer_id FROM identities WHERE identity_id = ANY($1)", identity_ids
    )
    return {row["identity_id"]: row["customer_id"] for row in rows}


async def contact(session: ReadSession, customer: Customer) -> Contact:
    """Count the interactions of a customer. Relies on the primary key of interactions."""
    rows = await session.fetch(
        "SELECT channel, count(*) AS interactions, min(id::text) AS first, max(id::text) AS last FROM interactions "
        "WHERE identity_id = ANY($1) GROUP BY channel ORDER BY channel",
        customer.identity_ids,
    )

    def moment(interaction_id: str) -> datetime:
        return ids.from_unix_ms(ids.occurred_ms(UUID(interaction_id).bytes))

    return Contact(
        interactions=sum(row["interactions"] for row in rows),
        by_channel={row["channel"]: row["interactions"] for row in rows},
        first_at=min((moment(row["first"]) for row in rows), default=None),
        last_at=max((moment(row["last"]) for row in rows), default=None),
    )
