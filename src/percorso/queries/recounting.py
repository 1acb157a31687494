"""What the worker reads that keeps rollups and steps."""

from collections.abc import AsyncGenerator, Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.queries.followers import Follower
from percorso.storage.database import ReadSession
from percorso.storage.rollups import Key, Row

FOLLOWER: Final = "rollups"
"""The name of the cursor in the commit log, and of the worker."""

_COLUMNS: Final = (
    "i.id, i.identity_id, coalesce((SELECT c.customer_id FROM counted_identities c "
    "WHERE c.identity_id = i.identity_id), i.identity_id) AS customer_id, "
    "i.touchpoint_id, i.channel, i.kind, i.function, i.direction, i.document::text"
)
_HOUR_MS: Final = 3_600_000


class Commit(NamedTuple):
    """A row of the commit log, with all that it names."""

    generation: int
    xid8: int
    at: datetime
    what: str
    hours: Sequence[datetime]
    identity_ids: Sequence[UUID]
    interaction_ids: Sequence[UUID]


async def next_commits(session: ReadSession, after: Follower, *, limit: int) -> list[Commit]:
    """The next rows of the commit log, as `followers.next_commits` gives them, with the hours.

    Relies on the primary key `(generation, xid8, at)` of each partition.
    """
    rows = await session.fetch(
        "SELECT generation, xid8, at, what, hours, identity_ids, interaction_ids FROM commits "
        "WHERE (generation, xid8) > ($1, $2) "
        "AND (xid8 < pg_snapshot_xmin(pg_current_snapshot()) OR generation < (SELECT generation FROM deployment)) "
        "ORDER BY generation, xid8 FETCH FIRST $3 ROWS WITH TIES",
        after.generation,
        after.xid8,
        limit,
    )
    return [Commit(*row) for row in rows]


async def latest(session: ReadSession) -> datetime | None:
    """When the last row of the commit log was written, if there is any. Relies on the primary key."""
    moment: datetime | None = await session.fetchval(
        "SELECT at FROM commits ORDER BY generation DESC, xid8 DESC LIMIT 1"
    )
    return moment


async def becoming(session: ReadSession, identity_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Identities that are counted under another customer than theirs, each with its customer.

    Looked for among these, all who share or shared a customer with one of them, and those that were left half done. One
    that is gone is its own customer, and so is one that is not counted under another. Relies on the primary keys of
    identities and counted_identities, `identities_customer_id_idx`, `counted_identities_customer_id_idx` and
    `counted_identities_stale_idx`.
    """
    rows = await session.fetch(
        "WITH named AS (SELECT DISTINCT unnest($1::uuid[]) AS identity_id), "
        "customers AS (SELECT identity_id AS customer_id FROM named "
        "UNION SELECT i.customer_id FROM named JOIN identities i USING (identity_id) "
        "UNION SELECT c.customer_id FROM named JOIN counted_identities c USING (identity_id)), "
        "candidates AS (SELECT identity_id FROM named "
        "UNION SELECT i.identity_id FROM customers JOIN identities i USING (customer_id) "
        "UNION SELECT c.identity_id FROM customers JOIN counted_identities c USING (customer_id) "
        "UNION SELECT identity_id FROM counted_identities WHERE stale) "
        "SELECT k.identity_id, coalesce(i.customer_id, k.identity_id) AS customer_id FROM candidates k "
        "LEFT JOIN identities i USING (identity_id) LEFT JOIN counted_identities c USING (identity_id) "
        "WHERE coalesce(i.customer_id, k.identity_id) <> coalesce(c.customer_id, k.identity_id) OR c.stale",
        list(identity_ids),
    )
    return {row["identity_id"]: row["customer_id"] for row in rows}


async def hours_of(session: ReadSession, identity_ids: Collection[UUID]) -> list[int]:
    """The hours since 1970 in which these identities have interactions. Relies on the primary key of interactions."""
    rows = await session.fetch(
        "SELECT DISTINCT ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / $2 AS hour "
        "FROM interactions WHERE identity_id = ANY($1)",
        list(identity_ids),
        _HOUR_MS,
    )
    return [row["hour"] for row in rows]


async def merged_identities(
    session: ReadSession, after: UUID, *, limit: int
) -> tuple[list[tuple[UUID, UUID]], UUID | None]:
    """Of the next identities those whose customer is another, with it; and the last that was looked at, if any.

    Relies on the primary key.
    """
    rows = await session.fetch(
        "SELECT identity_id, customer_id FROM identities WHERE identity_id > $1 ORDER BY identity_id LIMIT $2",
        after,
        limit,
    )
    pairs = [(row["identity_id"], row["customer_id"]) for row in rows]
    return [pair for pair in pairs if pair[0] != pair[1]], pairs[-1][0] if pairs else None


async def touchpoints(session: ReadSession) -> list[int]:
    """All touchpoints there are. Relies on the primary key."""
    return [row["touchpoint_id"] for row in await session.fetch("SELECT touchpoint_id FROM touchpoints")]


async def facts(
    session: ReadSession, low: UUID, high: UUID, touchpoint_ids: Sequence[int] | None, *, at_once: int
) -> AsyncGenerator[list[Record]]:
    """The interactions of a range of ids, in no order, for `analytics.observe.Observer`; some at a time.

    Within a transaction. Relies on `interactions_touchpoint_id_id_idx` where all touchpoints there are are given;
    else it is one pass through the months of the range, or what their BRIN leaves of it.
    """
    # The last of a long month may be found a while before its end; whoever lent the connection limits the whole.
    await session.execute("SET LOCAL statement_timeout = 0")
    by_touchpoint = "" if touchpoint_ids is None else " AND i.touchpoint_id = ANY($3)"
    found = await session.cursor(
        f"SELECT {_COLUMNS} FROM interactions i WHERE i.id >= $1 AND i.id < $2{by_touchpoint}",
        low,
        high,
        *(() if touchpoint_ids is None else (touchpoint_ids,)),
    )
    while rows := await found.fetch(at_once):
        yield rows


async def these(session: ReadSession, pairs: Sequence[tuple[UUID, UUID]], low: UUID, high: UUID) -> list[Record]:
    """The same of those of these interactions that there are, each given as its identity and its id, in this range.

    Relies on the primary key of interactions.
    """
    return await session.fetch(
        f"SELECT {_COLUMNS} FROM unnest($1::uuid[], $2::uuid[]) AS of(identity_id, id) "
        "JOIN interactions i ON i.identity_id = of.identity_id AND i.id = of.id WHERE i.id >= $3 AND i.id < $4",
        [identity for identity, _ in pairs],
        [interaction for _, interaction in pairs],
        low,
        high,
    )


async def rows(
    session: ReadSession, scopes: Sequence[int], dimensions: Sequence[int], level: int, start: datetime
) -> list[Row]:
    """What is stored of these scopes and dimensions. Relies on the primary key."""
    found = await session.fetch(
        "SELECT scope, dimension, level, start, cells, customers, responses, costs, mix FROM rollups "
        "WHERE scope = ANY($1) AND dimension = ANY($2) AND level = $3 AND start = $4",
        scopes,
        dimensions,
        level,
        start,
    )
    return [Row(Key(*row[:4]), *row[4:]) for row in found]
