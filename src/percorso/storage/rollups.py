"""Rollups: rows that each hold many cells, put in the place of those before."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple

from percorso.storage.database import WriteSession

LOCK: Final = 0x70657263_726F6C6C
"""Advisory lock: taken alone by whoever changes rollups and steps."""


class Key(NamedTuple):
    """Which row: `scope` is a touchpoint or 0, `dimension` and `level` are those of `analytics.dimensions`."""

    scope: int
    dimension: int
    level: int
    start: datetime


class Row(NamedTuple):
    """What a row holds, as `analytics.cells.pack` and `mixes.Mixes.pack` made it."""

    key: Key
    cells: bytes
    customers: bytes
    responses: bytes
    costs: bytes
    mix: bytes | None = None


@asynccontextmanager
async def held(session: WriteSession) -> AsyncIterator[None]:
    """Within this block no other session changes rollups; it waits until that is so. In no transaction.

    It lasts over several transactions: what is read in one may be written in the next.
    """
    await session.execute("SELECT pg_advisory_lock($1)", LOCK)
    try:
        yield
    finally:
        # Where the connection was lost, so was the lock.
        if not session.is_closed():
            await session.execute("SELECT pg_advisory_unlock($1)", LOCK)


async def put(session: WriteSession, rows: Sequence[Row]) -> None:
    """Store these rows, in the place of those of the same key. Relies on the primary key."""
    if not rows:
        return
    await session.execute(
        "INSERT INTO rollups (scope, dimension, level, start, cells, customers, responses, costs, mix) "
        "SELECT * FROM unnest($1::integer[], $2::integer[], $3::integer[], $4::timestamptz[], "
        "$5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[]) "
        "ON CONFLICT (scope, dimension, level, start) DO UPDATE SET cells = excluded.cells, "
        "customers = excluded.customers, responses = excluded.responses, costs = excluded.costs, mix = excluded.mix",
        *zip(*((*row.key, *row[1:]) for row in rows), strict=True),
    )


async def delete(session: WriteSession, keys: Sequence[Key]) -> None:
    """Delete rows that would be empty. Relies on the primary key."""
    if not keys:
        return
    await session.execute(
        "DELETE FROM rollups WHERE (scope, dimension, level, start) IN "
        "(SELECT * FROM unnest($1::integer[], $2::integer[], $3::integer[], $4::timestamptz[]))",
        *zip(*keys, strict=True),
    )
