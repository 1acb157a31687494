"""Erasures: the certificates."""

from typing import Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

_COLUMNS: Final = (
    "erasure_id, customer_id, requested_at, requested_by, key_id, reason_hash, mode, identifiers::text, found::text, "
    "kept::text, finished_at, audit_seq, audit_hash"
)
_LIST: Final = "erasures"


async def page(session: ReadSession, *, limit: int, after: UUID | None) -> Page[Record]:
    """One keyset page, newest first. Relies on the primary key, which is ordered by time."""
    rows = await session.fetch(
        f"SELECT {_COLUMNS} FROM erasures WHERE erasure_id < $1 ORDER BY erasure_id DESC LIMIT $2",
        ids.HIGHEST if after is None else after,
        limit + 1,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["erasure_id"].bytes, list_=_LIST))


async def by_id(session: ReadSession, erasure_id: UUID) -> Record:
    """The erasure of this id. Relies on the primary key."""
    row = await session.fetchrow(f"SELECT {_COLUMNS} FROM erasures WHERE erasure_id = $1", erasure_id)
    if row is None:
        raise NotFound("No erasure has this id.")
    return row
