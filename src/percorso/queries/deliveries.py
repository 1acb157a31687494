"""What is to be told to whom: subscriptions, changes that the commit log names, and deliveries that are due."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.queries.api_keys import IS_VALID
from percorso.queries.followers import Follower
from percorso.storage.database import ReadSession
from percorso.storage.deliveries import Delivery, Subscription

_SUBSCRIPTION = "s.subscription_id, s.protocol, s.callback, s.query, s.secret, s.key_id, s.created_at"


class Change(NamedTuple):
    """A row of the commit log that says what was done with interactions, which stand pairwise with identities."""

    generation: int
    xid8: int
    at: datetime
    what: str
    identity_ids: Sequence[UUID]
    interaction_ids: Sequence[UUID]


class Told(NamedTuple):
    """What an interaction said: up to `replaced_at`, or now where that is None."""

    interaction_id: UUID
    identity_id: UUID
    revision: int
    received_at: datetime
    replaced_at: datetime | None
    document: str


class Due(NamedTuple):
    """A delivery, and how often it was answered that it is not taken."""

    delivery: Delivery
    refusals: int


class Recipient(NamedTuple):
    """A subscription that may be tried now, and how often it failed since it last took something."""

    subscription: Subscription
    failures: int


async def subscriptions(session: ReadSession, protocol: str) -> list[Subscription]:
    """Those of a protocol whose key is valid. Reads all there are: they are few."""
    rows = await session.fetch(
        f"SELECT {_SUBSCRIPTION} FROM subscriptions s JOIN api_keys k USING (key_id) "
        f"WHERE s.protocol = $1 AND {IS_VALID} ORDER BY s.created_at, s.subscription_id",
        protocol,
    )
    return [Subscription(*row) for row in rows]


async def next_changes(session: ReadSession, after: Follower, *, limit: int) -> list[Change]:
    """The next rows of the commit log, as `followers.next_commits` has them, with what they say was done.

    Those that are about no interaction come too, so that a cursor gets past them, and name nothing.
    Relies on the primary key `(generation, xid8, at)` of each partition.
    """
    rows = await session.fetch(
        "SELECT generation, xid8, at, what, CASE WHEN told THEN identity_ids ELSE '{}' END, "
        "CASE WHEN told THEN interaction_ids ELSE '{}' END "
        "FROM (SELECT *, what IN ('stored', 'changed', 'deleted') AS told FROM commits "
        "WHERE (generation, xid8) > ($1, $2) "
        "AND (xid8 < pg_snapshot_xmin(pg_current_snapshot()) OR generation < (SELECT generation FROM deployment)) "
        "ORDER BY generation, xid8 FETCH FIRST $3 ROWS WITH TIES) AS next ORDER BY generation, xid8, at",
        after.generation,
        after.xid8,
        limit,
    )
    return [Change(*row) for row in rows]


async def told(session: ReadSession, identity_ids: Sequence[UUID], interaction_ids: Sequence[UUID]) -> list[Told]:
    """All that these interactions said, each in order, what it says now last; of those that are still there.

    Relies on the primary keys of interactions and of revisions; `LIMIT` keeps each look-up to its one partition.
    """
    rows = await session.fetch(
        "SELECT i.id, i.identity_id, r.revision, i.received_at, r.replaced_at, r.document::text "
        "FROM unnest($1::uuid[], $2::uuid[]) AS of (identity_id, id) CROSS JOIN LATERAL ("
        "SELECT id, identity_id, revision, received_at, document FROM interactions "
        "WHERE identity_id = of.identity_id AND id = of.id LIMIT 1) AS i CROSS JOIN LATERAL ("
        "SELECT i.revision, NULL::timestamptz AS replaced_at, i.document UNION ALL "
        "SELECT revision, replaced_at, document FROM interaction_revisions "
        "WHERE i.revision > 0 AND identity_id = i.identity_id AND interaction_id = i.id) AS r "
        "ORDER BY i.id, r.revision",
        identity_ids,
        interaction_ids,
    )
    return [Told(*row) for row in rows]


async def recipients(session: ReadSession) -> list[Recipient]:
    """The subscriptions that may be tried now, of all protocols, for which something waits.

    Reads all subscriptions there are: they are few. Of deliveries it relies on the index on `(subscription_id, seq)`.
    """
    rows = await session.fetch(
        f"SELECT {_SUBSCRIPTION}, s.failures FROM subscriptions s JOIN api_keys k USING (key_id) "
        f"WHERE s.next_at <= now() AND {IS_VALID} "
        "AND EXISTS (SELECT FROM deliveries d WHERE d.subscription_id = s.subscription_id)"
    )
    return [Recipient(Subscription(*row[:7]), row[7]) for row in rows]


async def due(session: ReadSession, subscription_id: UUID, *, limit: int) -> list[Due]:
    """What waits for a subscription, the earliest first. Relies on the index on `(subscription_id, seq)`."""
    rows = await session.fetch(
        "SELECT delivery_id, subscription_id, event, at, identity_id, interaction_id, revision, refusals "
        "FROM deliveries WHERE subscription_id = $1 ORDER BY seq LIMIT $2",
        subscription_id,
        limit,
    )
    return [Due(Delivery(*row[:7]), row[7]) for row in rows]
