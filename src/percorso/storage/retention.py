"""What retention deletes, and how far it has come. All it deletes is named by the commit log."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.storage import commits, dropping, partitions
from percorso.storage.database import WriteSession
from percorso.storage.dropping import Leaving

_IDENTITIES_AT_ONCE: Final = 5_000
_REJECTED_AT_ONCE: Final = 500
_MS: Final = "('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint"
"""The time in an interaction's id, Unix time in ms."""


async def delete(
    session: WriteSession, generation: int, pairs: Sequence[tuple[UUID, UUID]], low: UUID, high: UUID
) -> int:
    """Delete interactions, given by identity and id, within a range of ids, with their revisions; how many there were.

    What another transaction has locked is left: it is being enriched, and so comes late, or deleted. One transaction,
    which relies on the primary keys. Keys stay, so that nothing comes back.
    """
    now = datetime.now(UTC)
    async with session.transaction():
        await partitions.ensure_days(session, (now,))
        gone = await session.fetch(
            "WITH held AS (SELECT i.identity_id, i.id FROM unnest($1::uuid[], $2::uuid[]) AS of(identity_id, id) "
            "JOIN interactions i ON i.identity_id = of.identity_id AND i.id = of.id "
            "WHERE i.id >= $3 AND i.id < $4 FOR UPDATE OF i SKIP LOCKED) "
            "DELETE FROM interactions i USING held WHERE i.identity_id = held.identity_id AND i.id = held.id "
            "AND i.id >= $3 AND i.id < $4 RETURNING i.identity_id, i.id",
            [identity for identity, _ in pairs],
            [interaction for _, interaction in pairs],
            low,
            high,
        )
        if not gone:
            return 0
        identity_ids, interaction_ids = [row["identity_id"] for row in gone], [row["id"] for row in gone]
        await session.execute(
            "DELETE FROM interaction_revisions r USING unnest($1::uuid[], $2::uuid[]) AS of(identity_id, id) "
            "WHERE r.identity_id = of.identity_id AND r.interaction_id = of.id",
            identity_ids,
            interaction_ids,
        )
        await commits.record(
            session,
            generation,
            "deleted",
            at=now,
            identity_ids=identity_ids,
            interaction_ids=interaction_ids,
        )
    return len(gone)


async def empty(session: WriteSession, generation: int, leaving: Leaving) -> AsyncGenerator[int]:
    """Of a month that was taken out, delete what else there is, and name whom it was with in the commit log.

    A transaction for some thousand identities at a time, each in one row of the log, without interactions: how many
    identities there were, after each. Relies on the primary keys. What was read before a crash is read again.
    """
    last = ids.LOWEST
    while True:
        rows = await session.fetch(
            f'SELECT identity_id FROM "{leaving.remains}" WHERE identity_id > $1 '
            "GROUP BY identity_id ORDER BY identity_id LIMIT $2",
            last,
            _IDENTITIES_AT_ONCE,
        )
        if not rows:
            return
        identity_ids = [row["identity_id"] for row in rows]
        now = datetime.now(UTC)
        async with session.transaction():
            await partitions.ensure_days(session, (now,))
            await session.execute(
                "DELETE FROM interaction_revisions "
                "WHERE identity_id = ANY($1) AND interaction_id >= $2 AND interaction_id < $3",
                identity_ids,
                ids.first_id_at(leaving.first),
                ids.first_id_at(leaving.following),
            )
            await commits.record(session, generation, "deleted", at=now, identity_ids=identity_ids)
        yield len(rows)
        last = identity_ids[-1]


async def drop(session: WriteSession, generation: int, leaving: Leaving) -> None:
    """Drop a month that was taken out and emptied; its hours that had anything are named in the commit log."""
    rows = await session.fetch(f'SELECT DISTINCT {_MS} / {commits.HOUR_MS} AS hour FROM "{leaving.remains}"')
    now = datetime.now(UTC)
    async with session.transaction():
        if rows:
            await partitions.ensure_days(session, (now,))
            hours = [row["hour"] * commits.HOUR_MS for row in rows]
            await commits.record(session, generation, "deleted", at=now, identity_ids=(), occurred_ms=hours)
        await dropping.drop(session, leaving)


async def raise_floor(session: WriteSession, leaving: Leaving) -> None:
    """Say up to where the commit log is about to be dropped with a day of it, before anyone can miss any of that."""
    for name in (leaving.partition, leaving.remains):
        if await session.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
            await session.execute(
                "INSERT INTO commit_floor (generation, xid8) "
                f'SELECT generation, xid8 FROM "{name}" ORDER BY generation DESC, xid8 DESC LIMIT 1 '
                "ON CONFLICT (one) DO UPDATE SET generation = excluded.generation, xid8 = excluded.xid8 "
                "WHERE (commit_floor.generation, commit_floor.xid8) < (excluded.generation, excluded.xid8)"
            )


async def delete_rejected(session: WriteSession, before: datetime) -> AsyncGenerator[int]:
    """Delete what was refused before this moment, some at a time; how many, after each. Relies on the primary key."""
    while True:
        status = await session.execute(
            "DELETE FROM rejected_interactions WHERE rejection_id IN (SELECT rejection_id FROM rejected_interactions "
            "WHERE rejection_id < $1 ORDER BY rejection_id LIMIT $2 FOR UPDATE SKIP LOCKED)",
            ids.first_id_at(before),
            _REJECTED_AT_ONCE,
        )
        if not (deleted := int(status.rpartition(" ")[2])):
            return
        yield deleted


async def save(
    session: WriteSession,
    swept: Mapping[str, datetime],
    *,
    began_at: datetime,
    read: tuple[int, int],
    partitions: int,
    interactions: int,
    rejected: int,
    commit_days: int,
    size: int,
) -> None:
    """Say how far a completed run has come, and what it took away. Channels it did not sweep are as if never swept."""
    async with session.transaction():
        await session.execute("DELETE FROM retention_sweeps")
        await session.execute(
            "INSERT INTO retention_sweeps (channel, swept_until) SELECT * FROM unnest($1::text[], $2::timestamptz[])",
            list(swept),
            list(swept.values()),
        )
        await session.execute(
            "INSERT INTO retention_state (began_at, ended_at, generation, xid8, partitions, interactions, rejected, "
            "commit_days, bytes) VALUES ($1, now(), $2, $3::text::xid8, $4, $5, $6, $7, $8) ON CONFLICT (one) "
            "DO UPDATE SET began_at = excluded.began_at, ended_at = excluded.ended_at, "
            "generation = excluded.generation, xid8 = excluded.xid8, partitions = excluded.partitions, "
            "interactions = excluded.interactions, rejected = excluded.rejected, commit_days = excluded.commit_days, "
            "bytes = excluded.bytes",
            began_at,
            read[0],
            str(read[1]),
            partitions,
            interactions,
            rejected,
            commit_days,
            size,
        )
