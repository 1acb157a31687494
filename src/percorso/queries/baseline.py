"""A page of a journey in bare SQL on one connection: what the route is measured against."""

from datetime import UTC, datetime, timedelta

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from percorso import ids

_QUARTER = timedelta(days=92)


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
