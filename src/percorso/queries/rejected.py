"""Quarantine: what was refused, newest first."""

from datetime import datetime

from asyncpg.pgproto.pgproto import UUID
from sqlalchemy import RowMapping, text

from percorso import ids
from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

_COLUMNS = "rejection_id, received_at, source, sender_id, errors, payload, size, format"


async def page(
    session: ReadSession,
    *,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: UUID | None,
) -> Page[RowMapping]:
    """One keyset page. Relies on the primary key, which is ordered by time."""
    high = ids.HIGHEST if until is None else ids.first_id_at(until)
    result = await session.execute(
        text(
            f"SELECT {_COLUMNS} FROM rejected_interactions WHERE rejection_id >= :low AND rejection_id < :high"
            f"{' AND source = :source' if source is not None else ''} ORDER BY rejection_id DESC LIMIT :limit"
        ),
        {
            "low": ids.LOWEST if since is None else ids.first_id_at(since),
            "high": high if after is None else min(high, after),
            "limit": limit + 1,
        }
        | ({} if source is None else {"source": source}),
    )
    rows = result.mappings().all()
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["rejection_id"].bytes, list_="rejected"))


async def by_id(session: ReadSession, rejection_id: UUID) -> RowMapping:
    """The rejected item of this id. Relies on the primary key."""
    result = await session.execute(
        text(f"SELECT {_COLUMNS} FROM rejected_interactions WHERE rejection_id = :id"), {"id": rejection_id}
    )
    row = result.mappings().one_or_none()
    if row is None:
        raise NotFound("No rejected item has this id.")
    return row
