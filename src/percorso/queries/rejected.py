"""Quarantine: what was refused, newest first."""

from datetime import datetime
from typing import Any

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

COLUMNS = "rejection_id, received_at, source, sender_id, errors, payload, size, format"


async def page(
    session: ReadSession,
    *,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: UUID | None,
) -> Page[Record]:
    """One keyset page. Relies on the primary key, which is ordered by time."""
    high = ids.HIGHEST if until is None else ids.first_id_at(until)
    arguments: list[Any] = [
        ids.LOWEST if since is None else ids.first_id_at(since),
        high if after is None else min(high, after),
        limit + 1,
    ]
    if source is not None:
        arguments.append(source)
    rows = await session.fetch(
        f"SELECT {COLUMNS} FROM rejected_interactions WHERE rejection_id >= $1 AND rejection_id < $2"
        f"{' AND source = $4' if source is not None else ''} ORDER BY rejection_id DESC LIMIT $3",
        *arguments,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["rejection_id"].bytes, list_="rejected"))


async def by_id(session: ReadSession, rejection_id: UUID) -> Record:
    """The rejected item of this id. Relies on the primary key."""
    row = await session.fetchrow(f"SELECT {COLUMNS} FROM rejected_interactions WHERE rejection_id = $1", rejection_id)
    if row is None:
        raise NotFound("No rejected item has this id.")
    return row
