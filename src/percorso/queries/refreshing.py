"""Which profiles are to be made anew, and what goes into them beside a customer's interactions."""

from collections.abc import Collection, Sequence
from datetime import datetime

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import ReadSession


async def clock(session: ReadSession) -> datetime:
    """The time by the database, which is one for all processes."""
    now: datetime = await session.fetchval("SELECT clock_timestamp()")
    return now


async def linked_by(
    session: ReadSession, identity_ids: Collection[UUID], interaction_ids: Collection[UUID]
) -> list[UUID]:
    """The identities that these interactions newly linked with strong ones among those that they are stored under.

    A weak identity that is seen with a second person belongs to the first no more, whom the commit log does not name.
    Relies on the primary key of identity_links and on `identity_links_identity_b_idx`. Of interactions there may be
    hundreds of thousands: `IS TRUE` has them hashed once, where each link would be held against all of them.
    """
    rows = await session.fetch(
        "SELECT l.other FROM identities s CROSS JOIN LATERAL ("
        "SELECT identity_b AS other, interaction_id FROM identity_links WHERE identity_a = s.identity_id "
        "UNION ALL SELECT identity_a, interaction_id FROM identity_links WHERE identity_b = s.identity_id) AS l "
        "WHERE s.identity_id = ANY($1) AND s.strong AND (l.interaction_id IN (SELECT unnest($2::uuid[]))) IS TRUE",
        list(identity_ids),
        list(interaction_ids),
    )
    return [row["other"] for row in rows]


async def counted_in(session: ReadSession, identity_ids: Collection[UUID]) -> list[UUID]:
    """The customers in whose profiles one of these identities is counted.

    Relies on `customer_profiles_identity_ids_idx`.
    """
    rows = await session.fetch(
        "SELECT customer_id FROM customer_profiles WHERE identity_ids && $1::uuid[]", list(identity_ids)
    )
    return [row["customer_id"] for row in rows]


async def members(session: ReadSession, customer_ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
    """The identities of each of these that is a customer. Relies on `identities_customer_id_idx`."""
    rows = await session.fetch(
        "SELECT customer_id, array_agg(identity_id) AS identity_ids FROM identities WHERE customer_id = ANY($1) "
        "GROUP BY customer_id",
        list(customer_ids),
    )
    return dict(map(tuple, rows))


async def described(session: ReadSession, identity_ids: Collection[UUID]) -> set[UUID]:
    """Those of these identities of which any trait was ever said. Relies on the primary key of traits."""
    rows = await session.fetch(
        "SELECT of.identity_id FROM unnest($1::uuid[]) AS of(identity_id) "
        "WHERE EXISTS (SELECT FROM traits WHERE traits.identity_id = of.identity_id)",
        list(identity_ids),
    )
    return {row["identity_id"] for row in rows}


async def next_identities(session: ReadSession, after: UUID, *, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """The next identities in order of their ids, each with its customer. Relies on the primary key."""
    rows = await session.fetch(
        "SELECT identity_id, customer_id FROM identities WHERE identity_id > $1 ORDER BY identity_id LIMIT $2",
        after,
        limit,
    )
    return [(row["identity_id"], row["customer_id"]) for row in rows]


async def aged(session: ReadSession, before: datetime, *, limit: int) -> list[UUID]:
    """Customers whose profiles were computed before this moment, the oldest first.

    Relies on `customer_profiles_computed_at_idx`.
    """
    rows = await session.fetch(
        "SELECT customer_id FROM customer_profiles WHERE computed_at < $1 ORDER BY computed_at LIMIT $2", before, limit
    )
    return [row["customer_id"] for row in rows]


async def histories(
    session: ReadSession, identity_ids: Collection[UUID], *, most: int
) -> dict[UUID, list[Record]] | None:
    """The interactions of each of these identities, in no order, for `measures.read`; None: there are over `most`.

    Relies on the primary key `(identity_id, id)` of interactions, which many identities share one pass through.
    """
    rows = await session.fetch(
        "SELECT identity_id, id, channel, kind, function, direction, document::text FROM interactions "
        "WHERE identity_id = ANY($1) LIMIT $2",
        list(identity_ids),
        most + 1,
    )
    if len(rows) > most:
        return None
    found: dict[UUID, list[Record]] = {}
    for row in rows:
        found.setdefault(row["identity_id"], []).append(row)
    return found
