"""Answers in bare SQL on one connection: what the routes are measured against."""

from datetime import UTC, datetime, timedelta

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from percorso import ids

_QUARTER = timedelta(days=92)
_TIME = "to_timestamp((('x' || substr(replace(f.id::text, '-', ''), 1, 12))::bit(48)::bigint) / 1000.0)"
"""SQL: when an interaction occurred, by its id."""
_FIGURES = (
    "count(*), count(DISTINCT i.customer_id), count(*) FILTER (WHERE f.direction = 'inbound'), "
    "avg((f.document->'sentiment'->>'score')::float8), "
    "count(*) FILTER (WHERE f.document->'sentiment'->>'label' = 'negative'), "
    "count(*) FILTER (WHERE f.document->>'resolution' IN ('unresolved', 'escalated', 'follow_up')), "
    "avg((f.document->'details'->>'wait_seconds')::float8), avg((f.document->'details'->>'duration_seconds')::float8)"
)
_FACTS = "FROM interactions f JOIN identities i USING (identity_id) WHERE f.id >= $1 AND f.id < $2"


async def journey(
    connection: "asyncpg.Connection[asyncpg.Record]", identity: UUID, *, limit: int
) -> list[asyncpg.Record]:
    """The newest `limit` interactions of an identity's customer in the last quarter, prepared and unrendered.

    Relies on the primary keys, as the route's own queries do.
    """
    members = await connection.fetch(
        "SELECT m.identity_id, m.kind, m.value, m.strong, m.first_seen_at, m.customer_id "
        "FROM identities one JOIN identities m ON m.customer_id = one.customer_id WHERE one.identity_id = $1",
        identity,
    )
    return await connection.fetch(
        "SELECT i.* FROM unnest($1::uuid[]) AS of(identity) CROSS JOIN LATERAL ("
        "SELECT identity_id, id, received_at, document::text, revision FROM interactions "
        "WHERE identity_id = of.identity AND id >= $2 ORDER BY id DESC LIMIT $3) AS i ORDER BY id DESC LIMIT $3",
        [member["identity_id"] for member in members],
        ids.first_id_at(datetime.now(UTC) - _QUARTER),
        limit + 1,
    )


async def by_touchpoint(
    connection: "asyncpg.Connection[asyncpg.Record]", start: datetime, end: datetime
) -> list[asyncpg.Record]:
    """Some of the figures of every touchpoint, from the facts. Reads all of the range."""
    return await connection.fetch(
        f"SELECT f.touchpoint_id, {_FIGURES} {_FACTS} GROUP BY 1", ids.first_id_at(start), ids.first_id_at(end)
    )


async def by_channel(
    connection: "asyncpg.Connection[asyncpg.Record]", start: datetime, end: datetime
) -> list[asyncpg.Record]:
    """The same of every channel."""
    return await connection.fetch(
        f"SELECT f.channel, {_FIGURES} {_FACTS} GROUP BY 1", ids.first_id_at(start), ids.first_id_at(end)
    )


async def by_day(
    connection: "asyncpg.Connection[asyncpg.Record]", start: datetime, end: datetime, slug: str, zone: str
) -> list[asyncpg.Record]:
    """The same of every day of one touchpoint. Relies on `interactions_touchpoint_id_id_idx`."""
    return await connection.fetch(
        f"SELECT date_trunc('day', {_TIME}, $4), {_FIGURES} {_FACTS} "
        "AND f.touchpoint_id = (SELECT touchpoint_id FROM touchpoints WHERE slug = $3) GROUP BY 1",
        ids.first_id_at(start),
        ids.first_id_at(end),
        slug,
        zone,
    )


async def transitions(
    connection: "asyncpg.Connection[asyncpg.Record]", start: datetime, end: datetime, within: timedelta
) -> list[asyncpg.Record]:
    """How often customers went from one touchpoint to another, from the facts. Reads and sorts all of the range."""
    return await connection.fetch(
        "SELECT before, touchpoint_id, count(*), count(DISTINCT customer_id) FROM ("
        "SELECT i.customer_id, f.touchpoint_id, lag(f.touchpoint_id) OVER customer AS before, "
        f"{_TIME} - lag({_TIME}) OVER customer AS gap {_FACTS} "
        "WINDOW customer AS (PARTITION BY i.customer_id ORDER BY f.id)) AS steps "
        "WHERE gap <= $3 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 50",
        ids.first_id_at(start),
        ids.first_id_at(end),
        within,
    )
