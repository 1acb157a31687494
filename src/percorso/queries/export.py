"""Every interaction, as it was given, for taking them elsewhere: in order of time, out of one snapshot."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.storage.database import ReadSession, reading

_ROWS_AT_ONCE = 500
_LONGEST_SECONDS = 30 * 86_400
_BOUNDS = r"FROM \(''([0-9a-f-]{36})''\) TO \(''([0-9a-f-]{36})''\)"


@dataclass(frozen=True, slots=True)
class Part:
    """A range of ids, the last excluded, that one partition holds; `size` is the partition's, in bytes."""

    low: UUID
    high: UUID
    size: int


@asynccontextmanager
async def snapshot(engine: AsyncEngine, *, seconds: float = _LONGEST_SECONDS) -> AsyncIterator[ReadSession]:
    """A read session whose every statement sees the same, and may take as long as it must, up to so many seconds."""
    async with (
        reading(engine, seconds=seconds) as session,
        session.transaction(isolation="repeatable_read", readonly=True),
    ):
        await session.execute(
            "SET LOCAL statement_timeout = 0;"
            "SET LOCAL idle_in_transaction_session_timeout = 0;"
            # A part is read whole: that it is, only its bounds tell.
            "SET LOCAL plan_cache_mode = force_custom_plan"
        )
        yield session


async def parts(session: ReadSession, *, since: datetime | None, until: datetime | None) -> list[Part]:
    """What holds the interactions of this time, the oldest first."""
    rows = await session.fetch(
        "SELECT b.ends[1]::uuid AS low, b.ends[2]::uuid AS high, pg_table_size(c.oid) AS size "
        "FROM pg_partition_tree('interactions') p JOIN pg_class c ON c.oid = p.relid "
        f"CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), '{_BOUNDS}') AS b(ends) "
        "WHERE p.isleaf AND b.ends IS NOT NULL ORDER BY low"
    )
    low = ids.LOWEST if since is None else ids.first_id_at(since)
    high = ids.HIGHEST if until is None else ids.first_id_at(until)
    return [
        Part(max(low, part["low"]), min(high, part["high"]), part["size"])
        for part in rows
        if part["low"] < high and low < part["high"]
    ]


async def documents(
    session: ReadSession, part: Part, identities: Sequence[UUID] | None
) -> AsyncIterator[Sequence[str]]:
    """The documents of a part in order of id, some at a time: those of these identities, or all.

    Reads one partition once, or with identities its primary key; the server sorts it, and holds the cursor.
    """
    mine = "" if identities is None else " AND identity_id = ANY($3)"
    arguments = [part.low, part.high, *([] if identities is None else [identities])]
    cursor = await session.cursor(
        f"SELECT document::text FROM interactions WHERE id >= $1 AND id < $2{mine} ORDER BY id", *arguments
    )
    while rows := await cursor.fetch(_ROWS_AT_ONCE):
        yield [row["document"] for row in rows]
