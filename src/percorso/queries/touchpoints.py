"""The registry of touchpoints, and what happened at one."""

from sqlalchemy import RowMapping, text

from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.queries.interactions import COLUMNS, Filters, Found, found
from percorso.storage.database import ReadSession

FIRST = 0
"""The position before every touchpoint."""

_ID_BYTES = 4
_MOST = 2**31 - 1
_SAID = "touchpoint_id, slug, channel, name, function, stage, owner, location, discovered, created_at, updated_at"


async def page(session: ReadSession, *, limit: int, after: int) -> Page[RowMapping]:
    """Touchpoints in the order they were registered. Relies on the primary key."""
    result = await session.execute(
        text(f"SELECT {_SAID} FROM touchpoints WHERE touchpoint_id > :after ORDER BY touchpoint_id LIMIT :limit"),
        {"after": after, "limit": limit + 1},
    )
    rows = result.mappings().all()
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["touchpoint_id"].to_bytes(_ID_BYTES, "big"), list_="touchpoints"))


def position(given: str) -> int:
    """Where the page begins that a cursor of this list leads to."""
    return min(int.from_bytes(cursor.decode(given, list_="touchpoints", size=_ID_BYTES), "big"), _MOST)


async def by_slug(session: ReadSession, slug: str) -> RowMapping:
    """The touchpoint of this slug. Relies on its unique key."""
    result = await session.execute(text(f"SELECT {_SAID} FROM touchpoints WHERE slug = :slug"), {"slug": slug})
    row = result.mappings().one_or_none()
    if row is None:
        raise NotFound("No touchpoint has this slug.")
    return row


async def interactions(session: ReadSession, touchpoint_id: int, filters: Filters) -> Page[Found]:
    """One keyset page of what happened at a touchpoint. Relies on the index on `(touchpoint_id, id)`."""
    low, high = filters.bounds()
    conditions, parameters = filters.where()
    result = await session.execute(
        text(
            f"SELECT {COLUMNS} FROM interactions WHERE touchpoint_id = :touchpoint_id AND id >= :low AND id < :high"
            f"{conditions} ORDER BY id {filters.order} LIMIT :limit"
        ),
        parameters | {"touchpoint_id": touchpoint_id, "low": low, "high": high, "limit": filters.limit + 1},
    )
    rows = [found(row) for row in result.mappings()]
    if len(rows) <= filters.limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2].interaction_id.bytes, list_=f"touchpoint-{filters.order}"))
