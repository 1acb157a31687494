"""A small group of interactions in one statement: keys, interactions, the commit log, and whom they are with.

A statement is a transaction by itself, and one round trip where COPY into the same tables takes nine. What a round trip
costs the process does not depend on the rows, so for few of them this is twice as quick; from some 200 on COPY is.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID

from percorso.storage import commits
from percorso.storage.database import WriteSession
from percorso.storage.identities import Identifier
from percorso.storage.interactions import Row

# What is inserted is read from `fresh` alone, so a row whose key is stored already leaves nothing behind. Keys come
# first in the last SELECT: every transaction locks keys before identities, both in order, and so none can deadlock.
_STORE = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::int[],
        $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[]
    ) AS t(key, identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document, hour)
), new AS (
    INSERT INTO interaction_keys (key, identity_id, interaction_id)
    SELECT key, identity_id, id FROM given ON CONFLICT DO NOTHING RETURNING key
), fresh AS MATERIALIZED (
    SELECT given.* FROM given JOIN new USING (key)
), stored AS (
    INSERT INTO interactions
        (identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document)
    SELECT identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document::json FROM fresh
), logged AS (
    INSERT INTO commits (generation, xid8, at, what, hours, identity_ids, interaction_ids)
    SELECT $12, pg_current_xact_id(), $13, 'stored', array_agg(DISTINCT hour), array_agg(identity_id), array_agg(id)
    FROM fresh HAVING count(*) > 0
), met AS (
    INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at)
    SELECT DISTINCT ON (m.identity_id) m.identity_id, m.kind, m.value, m.strong, m.identity_id, fresh.received_at
    FROM unnest($14::uuid[], $15::uuid[], $16::text[], $17::text[], $18::bool[])
        AS m(key, identity_id, kind, value, strong)
    JOIN fresh USING (key)
    ORDER BY m.identity_id, fresh.received_at
    ON CONFLICT DO NOTHING RETURNING identity_id
)
SELECT key, NULL::uuid AS identity_id, NULL::uuid AS customer_id FROM new
UNION ALL SELECT NULL, identity_id, identity_id FROM met
UNION ALL SELECT NULL, identity_id, customer_id FROM identities WHERE identity_id = ANY($15)
"""


async def store(
    session: WriteSession,
    rows: Sequence[Row],
    *,
    met: Sequence[tuple[Row, Identifier]],
    touchpoint_ids: Mapping[str, int],
    generation: int,
    at: datetime,
) -> tuple[Collection[UUID], dict[UUID, UUID]]:
    """Store those rows, sorted by key and none twice, whose keys are not stored, with their row of the commit log.

    `met` are the identifiers that may not be stored, each with a row that names it: they are where that row is. Gives
    back the keys that were new, and the customer of each identity of `met`, but for those that another transaction
    stored at the same time. The day's partition must exist.
    """
    records = await session.fetch(
        _STORE,
        [row.key for row in rows],
        [row.identifiers[0].id for row in rows],
        [row.id for row in rows],
        [row.received_at for row in rows],
        [touchpoint_ids[row.touchpoint] for row in rows],
        [row.channel for row in rows],
        [row.kind for row in rows],
        [row.function for row in rows],
        [row.direction for row in rows],
        [row.document for row in rows],
        [commits.hour(row.occurred_ms) for row in rows],
        generation,
        at,
        [row.key for row, _ in met],
        [identifier.id for _, identifier in met],
        [identifier.kind for _, identifier in met],
        [identifier.value for _, identifier in met],
        [identifier.strong for _, identifier in met],
    )
    keys = {key for key, _, _ in records if key is not None}
    return keys, {identity: customer for _, identity, customer in records if identity is not None}
