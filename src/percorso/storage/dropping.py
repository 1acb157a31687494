"""Partitions that go: taken out of their table without a halt of reads and writes, then dropped.

What is to go is written down first. A partition is then detached concurrently, which waits for the statements that use
its table, but makes none wait; renamed, so that a new one can be made for what comes late; and dropped. After a crash
between any two of these steps, `leave` goes on from where they stand in the catalogue.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from percorso.storage.database import WriteSession

_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.5
_SUFFIX: Final = "_leaving"
_LONG: Final = "5 s"
"""A transaction that has used the table for so long may do so for hours: a partition is not taken out meanwhile."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A partition that is to go, and its range of time."""

    parent: str
    partition: str
    first: datetime
    following: datetime

    @property
    def remains(self) -> str:
        """The name it has once it is taken out."""
        return self.partition + _SUFFIX


async def intend(session: WriteSession, leaving: Leaving) -> None:
    """Write down that a partition is to go."""
    await session.execute(
        "INSERT INTO retention_drops (parent, partition, first, following) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT DO NOTHING",
        leaving.parent,
        leaving.partition,
        leaving.first,
        leaving.following,
    )


async def unfinished(session: WriteSession) -> Sequence[Leaving]:
    """What was begun and is not gone. What was written down only is forgotten: it may be due no longer."""
    await session.execute(
        "DELETE FROM retention_drops WHERE to_regclass(partition || $1) IS NULL AND EXISTS "
        "(SELECT FROM pg_inherits WHERE inhrelid = to_regclass(partition) AND NOT inhdetachpending)",
        _SUFFIX,
    )
    rows = await session.fetch("SELECT parent, partition, first, following FROM retention_drops ORDER BY partition")
    return [Leaving(*row) for row in rows]


async def take_out(session: WriteSession, leaving: Leaving) -> bool:
    """Detach a partition that is written down, and give it the name of what remains; whether that is done.

    It is not where others use the table for so long that one had better come back later. The session must be in no
    transaction, have no `statement_timeout` and have a `lock_timeout`.
    """
    for _ in range(_TRIES):
        if await _exists(session, leaving.remains) or not await _exists(session, leaving.partition):
            return True
        pending = await session.fetchval(
            "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass($1)", leaving.partition
        )
        if pending is None:
            await session.execute(f'ALTER TABLE "{leaving.partition}" RENAME TO "{leaving.remains}"')
            return True
        # Once it has begun, nothing can be stored in its range until it is done.
        if not pending and await _is_held(session, leaving.parent):
            return False
        how = "FINALIZE" if pending else "CONCURRENTLY"
        try:
            await session.execute(f'ALTER TABLE "{leaving.parent}" DETACH PARTITION "{leaving.partition}" {how}')
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(_PAUSE_SECONDS)
    return False


async def size(session: WriteSession, leaving: Leaving) -> int | None:
    """The bytes that remain of a partition which was taken out, with its indexes; None where nothing remains."""
    found: int | None = await session.fetchval("SELECT pg_total_relation_size(to_regclass($1))", leaving.remains)
    return found


async def drop(session: WriteSession, leaving: Leaving) -> None:
    """Drop what remains of a partition, and forget that it was to go."""
    async with session.transaction():
        await session.execute(f'DROP TABLE "{leaving.remains}"')
        await forget(session, leaving)


async def forget(session: WriteSession, leaving: Leaving) -> None:
    """Strike out that a partition was to go."""
    await session.execute("DELETE FROM retention_drops WHERE partition = $1", leaving.partition)


async def _is_held(session: WriteSession, parent: str) -> bool:
    """Whether a transaction has used a table for long, and may go on to."""
    return bool(
        await session.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
            "WHERE l.relation = to_regclass($1) AND l.database = (SELECT oid FROM pg_database "
            f"WHERE datname = current_database()) AND l.granted AND a.xact_start < now() - interval '{_LONG}')",
            parent,
        )
    )


async def _exists(session: WriteSession, name: str) -> bool:
    return bool(await session.fetchval("SELECT to_regclass($1) IS NOT NULL", name))
