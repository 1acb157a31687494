"""Segments, in the order of their names."""

from asyncpg import Record

from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

LONGEST_NAME = 64
"""Characters in the name of a segment, each of one byte."""

_COLUMNS = "name, description, filter::text AS filter, created_at, updated_at, updated_by"


async def page(session: ReadSession, *, limit: int, after: str) -> Page[Record]:
    """One keyset page. Relies on the primary key."""
    rows = await session.fetch(
        f"SELECT {_COLUMNS} FROM segments WHERE name > $1 ORDER BY name LIMIT $2", after, limit + 1
    )
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode_name(rows[-2]["name"], list_="segments", size=LONGEST_NAME))


def position(given: str) -> str:
    """The name after which the page begins that a cursor of this list leads to."""
    return cursor.decode_name(given, list_="segments", size=LONGEST_NAME)


async def by_name(session: ReadSession, name: str) -> Record:
    """The segment of this name. Relies on the primary key."""
    row = await session.fetchrow(f"SELECT {_COLUMNS} FROM segments WHERE name = $1", name)
    if row is None:
        raise NotFound("No segment has this name.")
    return row
