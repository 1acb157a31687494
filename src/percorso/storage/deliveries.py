"""Who is told of changes, and what is still to be told them: of any protocol."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


class Subscription(msgspec.Struct, frozen=True):
    """Whoever wants to be told: where, of what, and signed with which secret."""

    subscription_id: UUID
    protocol: str
    callback: str
    query: str | None
    secret: str
    key_id: UUID
    created_at: datetime


class Delivery(msgspec.Struct, frozen=True):
    """An event that a subscription is to be told of; `revision` is what the interaction said after it.

    `identity_id` is whose interaction it is; None where that is deleted.
    """

    delivery_id: UUID
    subscription_id: UUID
    event: str
    at: datetime
    identity_id: UUID | None
    interaction_id: UUID
    revision: int


async def subscribe(session: WriteSession, subscription: Subscription) -> None:
    """Store a new subscription."""
    await session.execute(
        "INSERT INTO subscriptions (subscription_id, protocol, callback, query, secret, key_id, created_at, "
        "failures, next_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, now())",
        subscription.subscription_id,
        subscription.protocol,
        subscription.callback,
        subscription.query,
        subscription.secret,
        subscription.key_id,
        subscription.created_at,
    )


async def unsubscribe(
    session: WriteSession, subscription_id: UUID, *, protocol: str | None = None, key_id: UUID | None = None
) -> bool:
    """Forget a subscription with all that it was still to be told; whether there was one.

    With `protocol` and `key_id` only where it is of that protocol, and was made by that key.
    """
    gone = await session.fetchval(
        "DELETE FROM subscriptions WHERE subscription_id = $1 AND protocol = coalesce($2, protocol) "
        "AND key_id = coalesce($3, key_id) RETURNING true",
        subscription_id,
        protocol,
        key_id,
    )
    if gone is None:
        return False
    await session.execute("DELETE FROM deliveries WHERE subscription_id = $1", subscription_id)
    return True


async def held_back(session: WriteSession, name: str, generation: int, xid8: int) -> bool:
    """Whether a follower is no more where it was read to be: another went on meanwhile. It is locked."""
    here = await session.fetchval(
        "SELECT true FROM followers WHERE name = $1 AND (generation, xid8) = ($2, $3) FOR UPDATE",
        name,
        generation,
        xid8,
    )
    return here is None


async def add(session: WriteSession, deliveries: Sequence[Delivery]) -> None:
    """Let these be delivered at once, in this order; those of subscriptions that are gone meanwhile are left out."""
    await session.execute(
        "INSERT INTO deliveries (delivery_id, subscription_id, event, at, identity_id, interaction_id, revision, "
        "refusals) SELECT delivery_id, subscription_id, event, at, identity_id, interaction_id, revision, 0 "
        "FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[], $6::uuid[], $7::int[]) "
        "WITH ORDINALITY AS d (delivery_id, subscription_id, event, at, identity_id, interaction_id, revision, place) "
        "WHERE EXISTS (SELECT FROM subscriptions s WHERE s.subscription_id = d.subscription_id) ORDER BY place",
        [each.delivery_id for each in deliveries],
        [each.subscription_id for each in deliveries],
        [each.event for each in deliveries],
        [each.at for each in deliveries],
        [each.identity_id for each in deliveries],
        [each.interaction_id for each in deliveries],
        [each.revision for each in deliveries],
    )


async def done(session: WriteSession, subscription_id: UUID, delivery_ids: Sequence[UUID], *, taken: bool) -> None:
    """These were `taken`, or are given up. Relies on the primary keys."""
    await session.execute("DELETE FROM deliveries WHERE delivery_id = ANY($1)", delivery_ids)
    if taken:
        await session.execute(
            "UPDATE subscriptions SET failures = 0 WHERE subscription_id = $1 AND failures > 0", subscription_id
        )


async def put_off(
    session: WriteSession, subscription_id: UUID, delivery_id: UUID, *, refused: bool, until: datetime
) -> None:
    """A delivery was tried in vain: its subscription is tried again then. Relies on the primary keys."""
    await session.execute(
        "UPDATE subscriptions SET failures = failures + 1, next_at = $2 WHERE subscription_id = $1",
        subscription_id,
        until,
    )
    if refused:
        await session.execute("UPDATE deliveries SET refusals = refusals + 1 WHERE delivery_id = $1", delivery_id)


async def drop_revoked(session: WriteSession) -> None:
    """Forget the subscriptions of keys that were revoked or have expired, with all that they were still to be told."""
    gone = await session.fetch(
        "DELETE FROM subscriptions s USING api_keys k WHERE k.key_id = s.key_id "
        "AND (k.revoked_at IS NOT NULL OR k.expires_at <= now()) RETURNING s.subscription_id"
    )
    if gone:
        await session.execute(
            "DELETE FROM deliveries WHERE subscription_id = ANY($1)", [row["subscription_id"] for row in gone]
        )
