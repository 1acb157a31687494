"""Everything held about one customer, part by part, out of one snapshot."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.queries import rejected
from percorso.storage.database import ReadSession
from percorso.storage.interactions import sender_of
from percorso.storage.personal import Place
from percorso.storage.rejected import MATCHES, Search

_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Held:
    """An interaction, with the key that its sender's id is remembered under."""

    key: UUID
    row: Record


async def interactions(session: ReadSession, identity_ids: Sequence[UUID], salt: bytes) -> AsyncIterator[Held]:
    """Every interaction of these identities, in order of time. Relies on the primary key of each partition."""
    cursor = await session.cursor(
        "SELECT id, identity_id, received_at, t.slug AS touchpoint, i.channel, kind, i.function, direction, revision, "
        "traceparent, document::text AS document FROM interactions i LEFT JOIN touchpoints t USING (touchpoint_id) "
        "WHERE identity_id = ANY($1) ORDER BY id",
        identity_ids,
    )
    while found := await cursor.fetch(_ROWS_AT_ONCE):
        for row in found:
            sent = sender_of(row["document"])
            yield Held(UUID(ids.dedup_key(salt, sent.source, sent.id)), row)


async def refused(session: ReadSession, identity_ids: Sequence[UUID], search: Search) -> AsyncIterator[Record]:
    """Every refused item that names these identities, or matches the search (see `traces.in_bytes`), oldest first.

    Relies on `rejected_interactions_identity_ids_idx` for those that could be read. For the rest quarantine is read
    through, some at a time, by the primary key.
    """
    after = ids.LOWEST
    while True:
        last = await session.fetchval(
            "SELECT max(rejection_id::text)::uuid FROM (SELECT rejection_id FROM rejected_interactions "
            "WHERE rejection_id > $1 ORDER BY rejection_id LIMIT $2) AS slice",
            after,
            _ROWS_AT_ONCE,
        )
        if last is None:
            return
        for row in await session.fetch(
            f"SELECT {rejected.COLUMNS} FROM rejected_interactions "
            "WHERE rejection_id > $3 AND rejection_id <= $4 AND (identity_ids && $1 OR "
            f"{MATCHES.format(pattern='$2', needles='$5')}) ORDER BY rejection_id",
            identity_ids,
            search.pattern,
            after,
            last,
            search.needles,
        ):
            yield row
        after = last


async def rows(session: ReadSession, place: Place, identity_ids: Sequence[UUID]) -> AsyncIterator[dict[str, Any]]:
    """Every row of a place that names these identities, column by column. Relies on the indexes of its columns."""
    named = " OR ".join(f"{column} = ANY($1)" for column in place.columns)
    cursor = await session.cursor(f"SELECT to_jsonb(t) AS row FROM {place.table} AS t WHERE {named}", identity_ids)
    while found := await cursor.fetch(_ROWS_AT_ONCE):
        for row in found:
            yield row["row"]
